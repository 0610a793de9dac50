//! Wrapper scripts: how several bridges were made where xend called one script.
//!
//! A wrapper is a shell script that calls `network-bridge` once for each bridge. It is read here, never run: what it calls with
//! which options, when xend calls it with `start`. What cannot be known without running it is an error where it is about such a
//! call, and a note where it is about another command.

mod command;
mod flow;
mod shell;

use serde::Serialize;

use super::legacy::{LegacyCall, NetworkScript};
use super::{Parsed, findings};
use crate::error::Error;

/// A call of a network script in a wrapper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WrapperCall {
    /// The script's name, without its directory: `network-bridge`.
    pub script: String,
    /// What it is given besides the verb.
    pub options: Vec<String>,
    /// Whether it is also given what the wrapper itself is given behind the verb (`"$@"`).
    pub passes_options: bool,
    /// The line of the call, from 1.
    pub line: usize,
}

impl WrapperCall {
    /// The call, started, where the wrapper itself is given these options behind the verb.
    ///
    /// # Errors
    /// A script that is none of Xen's, and as [`LegacyCall::parse`].
    pub fn call(&self, given: &[String]) -> Result<Parsed<LegacyCall>, Error> {
        let script: NetworkScript = self.script.parse()?;
        let given = if self.passes_options { given } else { &[] };
        let words: Vec<&str> =
            ["start"].into_iter().chain(given.iter().chain(&self.options).map(String::as_str)).collect();
        LegacyCall::parse(script, &words)
    }
}

/// Reads a wrapper script: the calls of network scripts that it makes when it is called with `start`, in their order.
///
/// Understood are the verb and the options as `"$1"`, `$1`, `"$@"`, `$*`, through variables and after `shift`; paths with
/// variables in them; quotes, comments, continued lines, here-documents, lists with `&&` and `||`, `exec`, and a `case` or an `if` on
/// the verb. Notes tell of commands that are not carried over, and of calls that never ran.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) with position, rule and hint: a text that is no shell script; a call in a loop, a
/// function or a condition; an option with a value that only the shell knows.
///
/// ```
/// use xennet_core::config::parse_wrapper;
/// let text = "#!/bin/sh\n/etc/xen/scripts/network-bridge $1 netdev=eth0 bridge=xenbr0\n\
///             /etc/xen/scripts/network-bridge $1 netdev=eth1 bridge=xenbr1\n";
/// let calls = parse_wrapper(text)?.value;
/// assert_eq!((calls.len(), calls[1].line), (2, 3));
/// assert_eq!(calls[1].options, ["netdev=eth1", "bridge=xenbr1"]);
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn parse_wrapper(text: &str) -> Result<Parsed<Vec<WrapperCall>>, Error> {
    let mut reader = flow::Reader::new(text);
    shell::read(text).and_then(|tokens| reader.script(&tokens)).map_err(|flaw| flaw.error(text))?;
    Ok(Parsed { value: reader.calls, notes: findings(reader.notes, text) })
}

#[cfg(test)]
mod tests;
