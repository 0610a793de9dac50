//! What happens to a packet on a recorded host, for C.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use xennet_core::recording::Recording;
use xennet_core::trace::{Question, Traffic, trace};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::text::Text;

/// Says what happens to a packet on a recorded host, hop by hop, and to its answer. Uses its arguments alone; nothing is sent, and nothing
/// on this host is read.
///
/// \param recording A JSON document of `xennet_host_record` or `xennet record`.
/// \param recording_len Its length in bytes, at most `XENNET_RECORDING_MAX`.
/// \param from Who sends: a domain's name, a domain id, a vif ("vif5.0"), "dom0", "outside" or an IP address.
/// \param from_len Its length in bytes.
/// \param to To whom, in the same words.
/// \param to_len Its length in bytes.
/// \param protocol "tcp", "udp" or "icmp"; NULL for any, as long as it makes no difference.
/// \param protocol_len Its length in bytes.
/// \param port The port that it is sent to, 1 to 65535; 0 for any, as long as it makes no difference.
/// \param document Gets a JSON document: `{"version": 1, "verdict", "where", "why", "source_seen", "hops": [{"direction", "stage", "at",
///   "text", "detail"}]}`. `verdict` is "delivered", "dropped" or "unknown"; `where` is what decided (a rule, a route, a link, a setting) or
///   null; `why` the reason in words; `source_seen` the source address that the receiver sees, or null; `direction` is "there" or "back".
/// \return NULL on success; `XENNET_KIND_CONFLICT` for a question that has two meanings on that host, which the message names, and for one
///   without a protocol or port where a rule depends on it; `XENNET_KIND_LINK_NOT_FOUND` for a domain or vif that is not there;
///   `XENNET_KIND_INVALID` for another text that cannot be used.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_trace(
    recording: Chars,
    recording_len: usize,
    from: Chars,
    from_len: usize,
    to: Chars,
    to_len: usize,
    protocol: Chars,
    protocol_len: usize,
    port: u32,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_trace", || {
        let document = given(document, "document")?;
        let recording = Recording::from_json(cast::recording(&recording, recording_len, "recording")?)?;
        let protocol = match protocol.is_null() {
            true => None,
            false => Some(cast::text(&protocol, protocol_len, "protocol")?),
        };
        let port = (port != 0).then(|| port.to_string());
        let traffic = Traffic::parse(protocol, port.as_deref())?;
        let (from, to) = (cast::text(&from, from_len, "from")?, cast::text(&to, to_len, "to")?);
        let question = Question::new(&recording, from, to, traffic, None)?;
        document.write(Some(Box::new(Text::json(&trace(&recording, &question)))));
        Ok(())
    })
}
