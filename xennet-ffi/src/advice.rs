//! What fits, what other programs need to be told, and addresses for guests.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::collections::BTreeMap;
use std::mem::MaybeUninit;

use xennet_core::advise::{Question, Situation, advise};
use xennet_core::document::{Asked, CheckedManagers, Snippets};
use xennet_core::macgen::Scheme;
use xennet_core::{DevId, Error, IfName, managers, surroundings};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::text::{Text, read_json};

/// Makes a MAC address for a guest.
///
/// \param scheme "libxl", "xen24", "local" (drawn anew each time), "uuid" or "xapi" (always the same of the same seed and index).
/// \param scheme_len Its length in bytes.
/// \param seed The domain's UUID, of "uuid" and "xapi"; NULL for none.
/// \param seed_len Its length in bytes.
/// \param devid The vif's index in the domain, 0 to 65535.
/// \param mac Gets the address as text, for example "00:16:3e:01:02:03".
/// \return NULL on success; else `XENNET_KIND_INVALID`; `XENNET_KIND_IO` where the kernel gives no random numbers.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_mac_generate(
    scheme: Chars,
    scheme_len: usize,
    seed: Chars,
    seed_len: usize,
    devid: u32,
    mac: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_mac_generate", || {
        let mac = given(mac, "mac")?;
        let scheme: Scheme = cast::text(&scheme, scheme_len, "scheme")?.parse()?;
        let seed = Some(cast::text(&seed, seed_len, "seed")?).filter(|seed| !seed.is_empty());
        let made = scheme.generate(seed, DevId::new(devid)?, surroundings::entropy()?)?;
        mac.write(Some(Box::new(Text::new(&made.to_string()))));
        Ok(())
    })
}

/// Says which of the three modes fits a situation, why, and what follows from it. Uses its arguments alone.
///
/// \param answers A JSON document with the answers that are known, each by its question's name, as of `xennet_advise_question`: `{"lan": "yes",
///   "addresses": "own", "reachable": "no", "subnet": ["10.0.0.0/24"]}`. Of "subnet" there may be a list.
/// \param answers_len Its length in bytes.
/// \param document Gets a JSON document: `{"network": {...}, "reasons": [], "elsewhere": [], "vif", "text"}`: the network, why, what is to be done
///   elsewhere, the vif line of a first guest, and the text of `networks.toml`.
/// \return NULL on success; else `XENNET_KIND_INVALID` for an answer that is none, and for a situation of which too little is known.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_advise(
    answers: Chars,
    answers_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_advise", || {
        let document = given(document, "document")?;
        let (situation, _) = answered(cast::text(&answers, answers_len, "answers")?)?;
        document.write(Some(Box::new(Text::json(&advise(&situation)?))));
        Ok(())
    })
}

/// The next question that matters for a situation, for a program that asks.
///
/// \param answers As of `xennet_advise`. A question that was asked has an answer, which may be empty where it has no words for answers.
/// \param answers_len Its length in bytes.
/// \param document Gets a JSON document: `{"name": "lan", "text", "answers": ["yes", "no"]}`; `answers` is empty where the answer is a name or an
///   address. NULL if nothing more has to be known.
/// \return NULL on success; else `XENNET_KIND_INVALID` for an answer that is none.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_advise_question(
    answers: Chars,
    answers_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_advise_question", || {
        let document = given(document, "document")?;
        let (situation, asked) = answered(cast::text(&answers, answers_len, "answers")?)?;
        document.write(situation.question(&asked).map(|question| Box::new(Text::json(&Asked::of(question)))));
        Ok(())
    })
}

/// What makes other programs that manage links leave those of guests alone: a file for each program.
///
/// \param links A JSON document, the list of the links' names besides vifs and taps: bridges, and vifs that have names of their own: `["xenbr0"]`.
///   NULL for none.
/// \param links_len Its length in bytes.
/// \param document Gets a JSON document: `{"snippets": [{"manager", "path", "text", "command", "names"}]}`.
/// \return NULL on success; else `XENNET_KIND_INVALID` for a name that means something in one of the files.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_snippets(
    links: Chars,
    links_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_snippets", || {
        let document = given(document, "document")?;
        let snippets = managers::snippets(&named(&links, links_len)?)?;
        document.write(Some(Box::new(Text::json(&Snippets::of(&snippets)))));
        Ok(())
    })
}

/// The programs that run on this system and would take some of these links: by what all of their files say.
///
/// \param links As of `xennet_snippets`.
/// \param links_len Its length in bytes.
/// \param document Gets a JSON document: `{"running": ["docker"], "warnings": [{"manager", "message", "command"}]}`.
/// \return NULL on success; else an error as of `xennet_snippets`; `XENNET_KIND_IO` for a file that is there and cannot be read.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_managers(
    links: Chars,
    links_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_managers", || {
        let document = given(document, "document")?;
        let snippets = managers::snippets(&named(&links, links_len)?)?;
        let found = surroundings::managers("/".as_ref(), &snippets)?;
        let (running, warnings) = (managers::running(&found), managers::check(&snippets, &found));
        document.write(Some(Box::new(Text::json(&CheckedManagers::new(&running, &warnings)))));
        Ok(())
    })
}

fn named(links: &Chars, len: usize) -> Result<Vec<IfName>, Error> {
    match cast::text(links, len, "links")? {
        "" => Ok(Vec::new()),
        text => read_json(text, "links"),
    }
}

/// One answer, or several to the one question that may have them.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Answer {
    One(String),
    Several(Vec<String>),
}

/// What is known by answers, and which questions have one.
fn answered(text: &str) -> Result<(Situation, Vec<Question>), Error> {
    let answers: BTreeMap<String, Answer> = read_json(text, "answers")?;
    let (mut situation, mut asked) = (Situation::default(), Vec::new());
    for (name, answer) in &answers {
        let question: Question = name.parse()?;
        match answer {
            Answer::One(text) => situation.answer(question, text)?,
            Answer::Several(texts) => texts.iter().try_for_each(|text| situation.answer(question, text))?,
        }
        asked.push(question);
    }
    Ok((situation, asked))
}
