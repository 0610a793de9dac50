// Every reader of texts, as ordinary functions: the fuzz targets beside this file call them, and so does the bounded property
// test in `tests/texts.rs`, which includes this file.

use xennet_core::config::legacy::{LegacyCall, NetworkScript};
use xennet_core::config::{self, Dialect, document, import};
use xennet_core::{Error, GuestMac, IfName, MacAddr, RateLimit, VlanSpec};

/// Bytes that need not be UTF-8: what stands in a file or an argument.
pub fn bytes(bytes: &[u8]) {
    all(&String::from_utf8_lossy(bytes));
}

/// Every reader on one text.
pub fn all(text: &str) {
    spec(text);
    file(text);
    values(text);
    settings(text);
    xend(text);
    networks(text);
}

/// One vif spec, and the arguments of `xl network-attach`, in every dialect.
pub fn spec(text: &str) {
    let args: Vec<&str> = text.split(' ').collect();
    for dialect in Dialect::ALL {
        told(document::vif(text, *dialect));
        told(document::attach(&args, *dialect));
        told(config::parse_vif(text, *dialect));
        told(config::parse_attach(&args, *dialect));
    }
}

/// A config file in every dialect.
pub fn file(text: &str) {
    for dialect in Dialect::ALL {
        told(document::vif_list(text, *dialect));
        told(config::parse_vif_list(text, *dialect));
    }
}

/// The settings of hotplug.
pub fn settings(text: &str) {
    let _ = config::hotplug::Settings::parse(text).map_err(shown);
}

/// The networks, and the documents of them.
pub fn networks(text: &str) {
    use config::networks::{from_keys, parse, to_keys};
    match parse(text) {
        Ok(found) => {
            let documents = document::networks(text).map_err(shown).ok();
            let documents = documents.map(|d| serde_json::json!(d));
            let documents = documents.as_ref().and_then(|d| d["networks"].as_array()).into_iter().flatten();
            assert_eq!(documents.clone().count(), found.iter().count());
            for (network, document) in found.iter().zip(documents) {
                let read = document::read_network(&document.to_string()).map_err(shown).ok();
                assert_eq!(read.as_ref(), Some(network), "{document}");
                let made = from_keys(network.name().as_str(), &to_keys(network)).map_err(shown).ok();
                assert_eq!(made.as_ref(), Some(network), "{document}");
            }
        }
        Err(error) => shown(error),
    }
    let _ = document::read_network(text).map_err(shown);
    for mode in ["bridge", "nat", "routed"] {
        let plain = parse(&format!("[network.n]\nmode = \"{mode}\"")).map_err(shown).ok();
        let keys = plain.and_then(|p| p.iter().next().map(|network| serde_json::json!(to_keys(network))));
        let keys = keys.as_ref().and_then(serde_json::Value::as_object);
        for key in ["mode", "mac", "uplink", "egress", "domain", "source", text] {
            let mut keys = keys.cloned().unwrap_or_default();
            keys.insert(key.to_owned(), text.into());
            let _ = from_keys("n", &keys).map_err(shown);
            let _ = from_keys(text, &keys).map_err(shown);
        }
    }
}

/// What is read of Xen up to 4.4.
pub fn xend(text: &str) {
    told(document::xend_config(text));
    let words: Vec<&str> = text.split(' ').collect();
    for script in NetworkScript::ALL {
        told(LegacyCall::parse(*script, &words));
    }
    if let Ok(parsed) = config::parse_wrapper(text) {
        for call in &parsed.value {
            assert!(call.line <= text.lines().count());
            if let Err(error) = call.call(&["netdev=eth0".to_owned()]) {
                shown(error);
            }
        }
    }
    told(config::parse_wrapper(text));
    let file = || import::File::new("a file", text.to_owned());
    for (config, wrappers) in [(Some(file()), vec![]), (None, vec![file()]), (Some(file()), vec![file()])] {
        match import::import(&import::Input::default().with_config(config).with_wrappers(wrappers)) {
            Ok(imported) => {
                let read = config::networks::parse(&imported.text).map_err(shown).ok();
                assert!(read.is_some_and(|read| read.iter().eq(imported.networks.iter())), "{}", imported.text);
            }
            Err(error) => {
                assert_ne!(error.kind(), xennet_core::ErrorKind::Internal, "{error}");
                shown(error);
            }
        }
    }
}

/// The single values.
pub fn values(text: &str) {
    for dialect in Dialect::ALL {
        told(document::rate(text, *dialect));
        told(document::mac(text, *dialect));
    }
    let _ = config::parse_rate_xend(text);
    let _ = MacAddr::parse_as_libxl(text);
    let _ = MacAddr::parse_lenient(text);
    let _ = RateLimit::from_backend_rate(text).map_err(shown);
    let _ = text.parse::<RateLimit>().map_err(shown);
    let _ = text.parse::<GuestMac>().map_err(shown);
    let _ = text.parse::<IfName>().map_err(shown);
    if let Ok(vlan) = text.parse::<VlanSpec>().map_err(shown) {
        assert_eq!(vlan.to_string().parse::<VlanSpec>().ok().as_ref(), Some(&vlan));
    }
}

/// A finding must be printable, and lie in the text.
fn shown(error: Error) {
    if let Some(d) = error.diagnostic() {
        assert!(d.span.start <= d.span.end && d.span.end <= d.source.len(), "{:?} in {:?}", d.span, d.source);
        assert!(!d.message.is_empty() && !d.rule.is_empty());
    }
    assert!(!error.to_string().contains('\n'), "{error}");
    let _ = (error.report(), error.to_json());
}

fn told<T>(result: Result<config::Parsed<T>, Error>) {
    match result {
        Ok(parsed) => {
            for note in parsed.notes {
                shown(note.into());
            }
        }
        Err(error) => shown(error),
    }
}
