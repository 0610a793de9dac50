//! Every address that Xen's `vif-nat` was seen to give (`tests/vectors/vif-nat-address.json`), and what ours gives instead where
//! that was none that could be used.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::path::Path;

use serde_json::Value;
use xennet_core::step::{AddrStep, RouteStep, Step};
use xennet_core::{DevId, DomId, Host, VifSpec};

/// The guest's address, and what ours comes to, and why it is not the same.
const NAMED: &[(&str, &str, &str)] = &[
    ("10.0.0.128", "10.0.0.254", "10.0.0.255 is the broadcast address of the /24"),
    ("10.0.5.128", "10.0.5.254", "10.0.5.255 is the broadcast address of the /24"),
    ("10.0.0.129", "10.0.0.254", "10.0.0.256 is no address"),
    ("10.0.5.129", "10.0.5.254", "10.0.5.256 is no address"),
    ("10.0.0.200", "10.0.0.254", "10.0.0.327 is no address"),
    ("2001:db8::1", "fe80::1", "IPv6 works, by a gateway that is the same on every vif"),
    ("10.0.0", "refused", "it is no address"),
];

/// The guest's address and this domain's on the vif, or what is refused.
fn ours(domid: u64, handle: u64, ip: Option<&str>) -> Result<(String, String), String> {
    let text = format!("script=vif-nat{}", ip.map_or_else(String::new, |ip| format!(",ip={ip}")));
    let vif: VifSpec = text.parse().map_err(|e: xennet_core::Error| e.to_string())?;
    let vif = vif.with_devid(DevId::new(u32::try_from(handle).unwrap()).unwrap());
    let domid = DomId::new(u32::try_from(domid).unwrap()).unwrap();
    let plan = Host::fake().plan_attach(domid, &vif).map_err(|e| e.to_string())?;
    let (mut guest, mut router) = (String::new(), String::new());
    for planned in plan.steps() {
        match &planned.step {
            Step::Addr(AddrStep::Add(a)) => router = a.address.ip().to_string(),
            Step::Route(RouteStep::Add(r)) => guest = r.destination.ip().to_string(),
            _ => {}
        }
    }
    Ok((guest, router))
}

#[test]
fn addresses_of_vif_nat() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/vif-nat-address.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut same, mut named) = (0, 0);
    for case in file["cases"].as_array().unwrap() {
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        let (guest, router) = (text("guest_ip"), text("router_ip"));
        let got = ours(case["domid"].as_u64().unwrap(), case["handle"].as_u64().unwrap(), case["ip"].as_str());
        match (NAMED.iter().find(|(of, ..)| *of == guest), got) {
            (None, got) => {
                same += 1;
                assert_eq!((got, case["script_exit"].as_i64()), (Ok((guest, router)), Some(0)), "{case}");
            }
            (Some((_, "refused", why)), got) => {
                named += 1;
                assert!(got.unwrap_err().contains("10.0.0"), "{why}");
            }
            (Some((of, is, why)), got) => {
                named += 1;
                assert_eq!(got, Ok(((*of).to_owned(), (*is).to_owned())), "{why}");
                assert_ne!(*is, router, "{of} is named, but the same");
            }
        }
    }
    println!("{same} the same, {named} otherwise for a reason");
    assert_eq!((same >= 5, named), (true, NAMED.len()));
}
