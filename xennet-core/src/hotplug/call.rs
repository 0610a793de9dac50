//! The call: what a toolstack says by arguments and environment, read as data and never as code.
//!
//! Source: `tools/libs/light/libxl_linux.c` (`libxl__hotplug_nic`, `get_hotplug_env`) for what is given,
//! `tools/hotplug/Linux/vif-common.sh` for what it means.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::model::{IfName, TypeIf, VifId};

/// What is to be done.
///
/// There are no others: libxl calls vif scripts with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Netback's link has appeared.
    Online,
    /// Netback's link is going, or gone.
    Offline,
    /// The device model's tap has appeared.
    Add,
    /// The device model's tap is going, or gone.
    Remove,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 4] = [Verb::Online, Verb::Offline, Verb::Add, Verb::Remove];

    /// The word of the call.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Online => "online",
            Verb::Offline => "offline",
            Verb::Add => "add",
            Verb::Remove => "remove",
        }
    }

    /// Which of a vif's links the verb is about. With the other one a call means nothing, and is a success.
    pub const fn type_if(self) -> TypeIf {
        match self {
            Verb::Online | Verb::Offline => TypeIf::Vif,
            Verb::Add | Verb::Remove => TypeIf::Tap,
        }
    }

    /// Whether something is to be connected, not disconnected.
    pub const fn connects(self) -> bool {
        matches!(self, Verb::Online | Verb::Add)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One call, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// What is to be done.
    pub verb: Verb,
    /// To which vif.
    pub id: VifId,
    /// The vif's directory in xenstore, as it was given: usually relative (`backend/vif/5/0`), and then below the domain that
    /// this runs in, be it dom0 or a driver domain.
    pub path: String,
    /// The bridge for a vif whose directory names none.
    pub bridge: Option<String>,
    /// The addresses for a vif whose directory names none.
    pub ip: Option<String>,
    /// Whether the port shall be isolated, for a vif whose directory says nothing about it.
    pub isolated: Option<String>,
    /// `netdev`: the gateway device of routed mode.
    pub netdev: Option<String>,
    /// What the caller should know: arguments that mean nothing here.
    pub notes: Vec<String>,
}

impl Call {
    /// The name that the call's link was made with.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a tap whose name would be too long.
    pub fn link(&self) -> Result<IfName, Error> {
        self.id.link_name(self.verb.type_if())
    }

    /// The domain whose backend this is, where the path says it: `/local/domain/3/backend/vif/5/0`.
    pub(crate) fn backend_domain(&self) -> Option<u32> {
        self.path.strip_prefix("/local/domain/")?.split_once('/')?.0.parse().ok()
    }
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read {
    /// There is something to do.
    Call(Call),
    /// A verb with the other kind of link (`online type_if=tap`): a success without any effect.
    Nothing {
        /// The verb.
        verb: Verb,
        /// The kind of link.
        type_if: TypeIf,
    },
}

/// A call that cannot be carried out, as far as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misread {
    /// What is wrong.
    pub error: Error,
    /// The verb, if there was one.
    pub verb: Option<Verb>,
    /// The vif's directory in xenstore, if there was one, and the call is one that has to be answered there.
    pub path: Option<String>,
}

/// The variables that a call may set; arguments win over the environment, as they did in the scripts.
const VARIABLES: [&str; 11] = [
    "type_if",
    "vif",
    "INTERFACE",
    "XENBUS_PATH",
    "XENBUS_TYPE",
    "XENBUS_BASE_PATH",
    "script",
    "bridge",
    "ip",
    "isolated",
    "netdev",
];

/// Reads the arguments behind the program's name, and the environment. Both are data: nothing in them is evaluated.
///
/// # Errors
/// [`Misread`] with [`ErrorKind::Invalid`]: no or an unknown verb, an unknown `type_if`, a missing or contradictory `vif`,
/// `INTERFACE` or `XENBUS_PATH`.
pub fn read<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Read, Misread> {
    let mut words = Vec::new();
    let mut given: Vec<(&str, &str)> = Vec::new();
    let mut notes = Vec::new();
    for argument in arguments {
        match argument.split_once('=') {
            Some((name, value)) => {
                if !VARIABLES.contains(&name) {
                    notes.push(format!("the argument \"{}\" means nothing here", shown(argument)));
                }
                given.push((name, value));
            }
            None => words.push(argument),
        }
    }
    // An empty variable is as good as none: libxl sets `netdev` to nothing.
    let variable = |name: &str| {
        let argument = given.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        argument.or_else(|| environment(name)).filter(|value| !value.is_empty())
    };
    let unclear = |error: Error| Misread { error, verb: None, path: None };
    let Some((first, rest)) = words.split_first() else {
        return Err(unclear(invalid("no verb was given", "verb").with_hint(usage())));
    };
    let Some(verb) = Verb::ALL.into_iter().find(|v| v.name() == *first) else {
        return Err(unclear(
            invalid(format!("\"{}\" is no verb of a vif script", shown(first)), first).with_hint(usage()),
        ));
    };
    notes.extend(rest.iter().map(|word| format!("the argument \"{}\" means nothing here", shown(word))));
    let type_if = match variable("type_if").as_deref() {
        None | Some("vif") => TypeIf::Vif,
        Some("tap") => TypeIf::Tap,
        Some(other) => {
            let e = invalid(format!("type_if={}: there is no such kind of link", shown(other)), other);
            return Err(Misread { error: e.with_hint("type_if is vif or tap"), verb: Some(verb), path: None });
        }
    };
    if type_if != verb.type_if() {
        return Ok(Read::Nothing { verb, type_if });
    }
    let path = variable("XENBUS_PATH");
    let misread = |error: Error| Misread { error, verb: Some(verb), path: path.clone() };
    let id = vif_of(type_if, &variable).map_err(misread)?;
    let path = match path {
        Some(path) => {
            if let Some(other) = vif_in(&path).filter(|other| *other != id) {
                let e =
                    invalid(format!("XENBUS_PATH={} is the directory of {other}, not of {id}", shown(&path)), &path);
                // Neither of the two vifs is to be told that it failed.
                return Err(Misread {
                    error: e.with_hint("both are set by the toolstack: they must be of one vif"),
                    verb: Some(verb),
                    path: None,
                });
            }
            path
        }
        // The old scripts looked below domain 0; where a driver domain runs this, its own vifs are below itself.
        None if type_if == TypeIf::Tap => format!("backend/vif/{}/{}", id.domid, id.devid),
        None => {
            let e = invalid("XENBUS_PATH is not set: the vif's directory in xenstore", "XENBUS_PATH");
            return Err(misread(e.with_hint(format!("for example XENBUS_PATH=backend/vif/{}/{}", id.domid, id.devid))));
        }
    };
    Ok(Read::Call(Call {
        verb,
        id,
        path,
        bridge: variable("bridge"),
        ip: variable("ip"),
        isolated: variable("isolated"),
        netdev: variable("netdev"),
        notes,
    }))
}

/// The vif that the environment names: `vif` for netback's link, `INTERFACE` for a tap.
fn vif_of(type_if: TypeIf, variable: &impl Fn(&str) -> Option<String>) -> Result<VifId, Error> {
    let (name, form) = match type_if {
        TypeIf::Vif => ("vif", "vif5.0"),
        TypeIf::Tap => ("INTERFACE", "vif5.0-emu"),
    };
    let Some(link) = variable(name) else {
        let e = invalid(format!("{name} is not set: the link that this is about"), name);
        return Err(e.with_hint(format!("for example {name}={form}")));
    };
    let id = match type_if {
        TypeIf::Vif => VifId::from_vif_name(&link),
        TypeIf::Tap => VifId::from_tap_name(&link),
    };
    id.ok_or_else(|| {
        let what = match type_if {
            TypeIf::Vif => "netback's name of a vif",
            TypeIf::Tap => "the name of a vif's tap",
        };
        invalid(format!("{name}={} is not {what}", shown(&link)), &link)
            .with_hint(format!("it is {form} for the first vif of domain 5, also where vifname= asks for another name"))
    })
}

/// The vif whose directory a path is; `None` for a path of another form.
fn vif_in(path: &str) -> Option<VifId> {
    let mut parts = path.rsplit('/');
    let (devid, domid, kind) = (parts.next()?, parts.next()?, parts.next()?);
    (kind == "vif").then_some(())?;
    Some(VifId::new(domid.parse().ok()?, devid.parse().ok()?))
}

fn usage() -> String {
    let verbs: Vec<&str> = Verb::ALL.iter().map(|v| v.name()).collect();
    format!("call it as libxl does: vif-bridge (or vif-nat, vif-route) {} type_if=vif|tap", verbs.join("|"))
}

fn invalid(message: impl Into<String>, object: &str) -> Error {
    Error::new(ErrorKind::Invalid, message).with_object(shown(object)).unchanged()
}

/// Text from outside for a message: no control characters, and not all of a megabyte.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(environment: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    }

    const LIBXL: [(&str, &str); 6] = [
        ("script", "/etc/xen/scripts/vif-bridge"),
        ("XENBUS_TYPE", "vif"),
        ("XENBUS_PATH", "backend/vif/7/0"),
        ("XENBUS_BASE_PATH", "backend"),
        ("netdev", ""),
        ("vif", "vif7.0"),
    ];

    fn call(arguments: &[&str], environment: &[(&str, &str)]) -> Call {
        match read(arguments.iter().copied(), &with(environment)) {
            Ok(Read::Call(call)) => call,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn misread(arguments: &[&str], environment: &[(&str, &str)]) -> Misread {
        let e = read(arguments.iter().copied(), &with(environment)).unwrap_err();
        assert!(e.error.hint().is_some() && e.error.object().is_some(), "{e:?}");
        e
    }

    #[test]
    fn the_order_of_arguments_does_not_matter_and_they_win() {
        let one = call(&["online", "type_if=vif"], &LIBXL);
        assert_eq!(
            (one.verb, one.id.to_string().as_str(), one.path.as_str()),
            (Verb::Online, "vif7.0", "backend/vif/7/0")
        );
        assert_eq!(one, call(&["type_if=vif", "online"], &LIBXL));
        assert_eq!(one, call(&["online"], &LIBXL), "type_if is vif where nothing is said");
        let two =
            call(&["online", "bridge=a", "bridge=b"], &[("bridge", "c"), ("vif", "vif7.0"), ("XENBUS_PATH", "x")]);
        assert_eq!(two.bridge.as_deref(), Some("b"));
        assert_eq!(one.netdev, None, "empty is none");
    }

    #[test]
    fn arguments_are_data() {
        let evil = call(&["online", "type_if=vif", "x=1;touch /tmp/evil", "bridge=$(id)"], &LIBXL);
        assert_eq!(evil.bridge.as_deref(), Some("$(id)"));
        assert_eq!(evil.notes, ["the argument \"x=1;touch /tmp/evil\" means nothing here"]);
    }

    #[test]
    fn a_verb_with_the_other_link_means_nothing() {
        for (verb, type_if) in [("online", "tap"), ("offline", "tap"), ("add", "vif"), ("remove", "vif")] {
            let all = [verb, &format!("type_if={type_if}")];
            assert!(matches!(read(all, &with(&LIBXL)), Ok(Read::Nothing { .. })), "{all:?}");
        }
    }

    #[test]
    fn a_tap_finds_its_directory_in_its_own_domain() {
        let tap = call(&["add", "type_if=tap"], &[("INTERFACE", "vif7.1-emu")]);
        assert_eq!(tap.path, "backend/vif/7/1");
        assert_eq!(tap.link().unwrap(), "vif7.1-emu");
        let given = call(
            &["add", "type_if=tap"],
            &[("INTERFACE", "vif7.1-emu"), ("XENBUS_PATH", "/local/domain/3/backend/vif/7/1")],
        );
        assert_eq!(given.path, "/local/domain/3/backend/vif/7/1");
        assert_eq!((given.backend_domain(), tap.backend_domain()), (Some(3), None));
    }

    #[test]
    fn what_cannot_be_understood_is_answered_where_somebody_waits() {
        let no_path = misread(&["online"], &[("vif", "vif7.0")]);
        assert_eq!(no_path.path, None);
        let no_vif = misread(&["online"], &[("XENBUS_PATH", "backend/vif/7/0")]);
        assert_eq!(no_vif.path.as_deref(), Some("backend/vif/7/0"));
        assert_eq!(misread(&["add", "type_if=tap"], &LIBXL).path.as_deref(), Some("backend/vif/7/0"));
        for vif in ["web0", "vif7", "vif7.0-emu", "vif7.0 ", "vif99999.0", "vif07.0", "\u{1b}[2J"] {
            let e = misread(&["online"], &[("vif", vif), ("XENBUS_PATH", "backend/vif/7/0")]);
            assert!(!e.error.message().contains('\u{1b}'), "{vif}");
        }
        // Nobody waits for an answer to these.
        for arguments in [&["frob"][..], &[], &["type_if=vif"], &["online", "type_if=zzz"]] {
            assert_eq!(misread(arguments, &LIBXL).path, None, "{arguments:?}");
        }
        let two = misread(&["online"], &[("vif", "vif7.0"), ("XENBUS_PATH", "backend/vif/8/0")]);
        assert_eq!(two.path, None, "neither of the two is told that it failed");
    }
}
