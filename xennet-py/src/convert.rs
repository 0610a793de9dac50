//! Values between Python and Rust.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyDelta, PyDict, PyFloat, PyInt, PyIterator, PyList, PyNone, PyString, PyType};
use serde::Serialize;
use serde_json::Value;
use xennet_core::{Error, ErrorKind};

use crate::error::raised;

/// What serde writes, as Python's own dicts, lists, texts and numbers.
pub(crate) fn to_python<'py>(py: Python<'py>, document: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    value_to_python(py, &to_value(document)?)
}

/// What serde writes, as a JSON document.
pub(crate) fn to_value(document: &impl Serialize) -> PyResult<Value> {
    serde_json::to_value(document)
        .map_err(|e| raised(&Error::new(ErrorKind::Internal, format!("a value has no JSON document: {e}"))))
}

fn value_to_python<'py>(py: Python<'py>, document: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match document {
        Value::Null => PyNone::get(py).to_owned().into_any(),
        Value::Bool(truth) => PyBool::new(py, *truth).to_owned().into_any(),
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(n), _, _) => n.into_pyobject(py)?.into_any(),
            (None, Some(n), _) => n.into_pyobject(py)?.into_any(),
            (None, None, n) => n.unwrap_or(f64::NAN).into_pyobject(py)?.into_any(),
        },
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(value_to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(members) => {
            let dict = PyDict::new(py);
            for (key, value) in members {
                dict.set_item(key, value_to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// A whole number of any size, as its digits: what is too large or negative then meets the library's own rule and message,
/// not a Python `OverflowError`.
///
/// It is the number that Python counts with (`operator.index`), whatever its type says of itself as a text.
pub(crate) struct Digits(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for Digits {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        // True is an int for Python, and a mistake here.
        let refused = || PyTypeError::new_err(format!("a whole number is needed, not {}", kind(&object)));
        if object.is_instance_of::<PyBool>() {
            return Err(refused());
        }
        let number = if object.is_instance_of::<PyInt>() {
            object.to_owned()
        } else if object.get_type().hasattr("__index__")? {
            py.import("operator")?.call_method1("index", (object,))?
        } else {
            return Err(refused());
        };
        if number.is_instance_of::<PyBool>() {
            return Err(refused());
        }
        if let Ok(small) = number.extract::<i64>() {
            return Ok(Digits(small.to_string()));
        }
        // By int's own methods: those of a subclass may say anything.
        let int = py.get_type::<PyInt>();
        let digits = int.call_method1("__repr__", (&number,)).and_then(|text| text.extract());
        // Python writes no more than some thousand digits.
        Ok(Digits(match digits {
            Ok(digits) => digits,
            Err(_) => {
                let bits: u64 = int.call_method1("bit_length", (&number,))?.extract()?;
                format!("a number of {bits} bits")
            }
        }))
    }
}

/// A text. One that has no UTF-8 (a lone surrogate) is refused as a value of the wrong type, so that the error names the argument.
pub(crate) struct Text(PyBackedStr);

impl Text {
    pub(crate) fn from_python(text: &Bound<'_, PyString>) -> PyResult<Self> {
        text.extract().map(Text).map_err(|_| no_utf8(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl FromPyObject<'_, '_> for Text {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let text = object
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err(format!("a text (a str) is needed, not {}", kind(&object))))?;
        Text::from_python(&text)
    }
}

/// The error for a text with lone surrogates.
fn no_utf8(object: &Bound<'_, PyAny>) -> PyErr {
    let shown = object.repr().map_or_else(|_| String::new(), |repr| repr.to_string());
    let shown: String = shown.chars().take(80).collect();
    PyTypeError::new_err(format!("a text that UTF-8 can say is needed, not {shown}, which has a lone surrogate"))
}

/// The longest time that is taken: a year.
const LONGEST: f64 = 31_536_000.0;

/// A time: a timedelta, or a number of seconds.
pub(crate) fn time_of(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let refused = |rule: &str| {
        let given = object.repr().map_or_else(|_| kind(object), |repr| repr.to_string());
        let given: String = given.chars().take(80).collect();
        raised(
            &Error::new(ErrorKind::Invalid, format!("{name} cannot be {given}: {rule}"))
                .with_object(name)
                .with_hint("give a timedelta, or a number of seconds"),
        )
    };
    let seconds = match object.cast::<PyDelta>() {
        Ok(delta) => delta.call_method0("total_seconds")?.extract::<f64>()?,
        Err(_) if object.is_instance_of::<PyFloat>() => object.extract::<f64>()?,
        Err(_) => match object.extract::<Digits>() {
            Ok(digits) => digits.0.parse().unwrap_or(f64::NAN),
            Err(_) => {
                let message = format!("{name} is a timedelta or a number of seconds, not {}", kind(object));
                return Err(PyTypeError::new_err(message));
            }
        },
    };
    // NaN is in no range.
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(refused("a time is 0 to 31536000 seconds (a year)"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|e| refused(&e.to_string()))
}

/// A value of a class, or the text that it is made of.
pub(crate) enum OrText<'py, T> {
    Made(Bound<'py, T>),
    Text(Text),
}

/// A class whose values callers may give as a text.
pub(crate) trait FromText {
    /// Both, in the words of an error.
    const WANTED: &'static str;
}

impl<'py, T: pyo3::PyTypeCheck + FromText> FromPyObject<'_, 'py> for OrText<'py, T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(made) = object.cast::<T>() {
            return Ok(OrText::Made(made.to_owned()));
        }
        match object.cast::<PyString>() {
            Ok(text) => Text::from_python(&text).map(OrText::Text),
            Err(_) => Err(PyTypeError::new_err(format!("{} is needed, not {}", T::WANTED, kind(&object)))),
        }
    }
}

/// What a value is, for an error that wants another one.
pub(crate) fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string())
}

/// `Name(key=value, ...)` with the values as Python writes them.
pub(crate) fn call_text(name: &str, fields: &Bound<'_, PyDict>) -> PyResult<String> {
    let mut text = format!("{name}(");
    for (at, (key, value)) in fields.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        text.push_str(&format!("{comma}{key}={}", value.repr()?));
    }
    text.push(')');
    Ok(text)
}

/// Another value of a class: of these fields, with changes.
pub(crate) fn made_anew<'py>(
    class: &Bound<'py, PyType>,
    fields: &Bound<'py, PyDict>,
    changes: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(changes) = changes {
        fields.update(changes.as_mapping())?;
    }
    class.call((), Some(fields))
}

/// A hash of the text that tells values of one type apart.
pub(crate) fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Several texts, or addresses and networks of the module ipaddress. One text alone would be taken for its letters, so it is refused.
pub(crate) fn texts(name: &str, given: Option<Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    let Some(given) = given else { return Ok(Vec::new()) };
    // A network of ipaddress has its addresses for items.
    if given.is_instance_of::<PyString>() || is_of_ipaddress(&given) {
        return Err(PyTypeError::new_err(format!("{name} takes several texts, as in {name}=({},)", given.repr()?)));
    }
    let wrong = |one: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!("{name} takes several texts or ipaddress objects, not {}", kind(one)))
    };
    iterated(&given, || wrong(&given))?
        .map(|item| {
            let item = item?;
            match item.cast::<PyString>() {
                Ok(text) => text
                    .to_cow()
                    .map(Cow::into_owned)
                    .map_err(|_| PyTypeError::new_err(format!("{name}: {}", no_utf8(&item).value(item.py())))),
                Err(_) if is_of_ipaddress(&item) => Ok(item.str()?.to_cow()?.into_owned()),
                Err(_) => Err(wrong(&item)),
            }
        })
        .collect()
}

/// The items of a value. `wrong` is the error for one that has none; what its own iterator raises comes through.
pub(crate) fn iterated<'py>(
    given: &Bound<'py, PyAny>,
    wrong: impl FnOnce() -> PyErr,
) -> PyResult<Bound<'py, PyIterator>> {
    let class = given.get_type();
    let has = |name| class.getattr(name).is_ok_and(|method| !method.is_none());
    if has("__iter__") || has("__getitem__") { given.try_iter() } else { Err(wrong()) }
}

/// Whether it is an address, a network or an address with its network, of the module ipaddress. That is not loaded for the question.
fn is_of_ipaddress(object: &Bound<'_, PyAny>) -> bool {
    let class = object.get_type();
    let module = class.getattr("__module__").and_then(|module| module.extract::<String>());
    module.is_ok_and(|module| module == "ipaddress")
}
