"""A picture that a notebook shows by itself."""

from __future__ import annotations

__all__ = ["Picture"]


class Picture(str):
    """What ``Host.picture`` gives: a str with the picture's text, which Jupyter draws if its form is "svg" and shows as it stands otherwise."""

    __slots__ = ("form",)
    #: The form: "text", "svg", "dot", "mermaid", "json".
    form: str

    def __new__(cls, text: str, form: str = "text") -> Picture:
        picture = super().__new__(cls, text)
        picture.form = form
        return picture

    def __reduce__(self) -> tuple[type[Picture], tuple[str, str]]:
        return Picture, (str(self), self.form)

    def _repr_svg_(self) -> str | None:
        return str(self) if self.form == "svg" else None

    def _repr_html_(self) -> str | None:
        if self.form == "svg":
            return str(self)
        text = self.replace("&", "&amp;").replace("<", "&lt;")
        return f"<pre>{text}</pre>"
