//! What goes wrong halfway: guests are served as before, or an error says that they are not.

use std::fs;

use xennet_core::Budget;
use xennet_core::services;

use crate::lab::{client, id, network, on_a_host};
use crate::life::gone;

/// What another version has written of a dnsmasq that runs, or nobody can read.
#[test]
fn a_dnsmasq_of_another_version_serves_on_or_is_restarted() {
    on_a_host("failures::a_dnsmasq_of_another_version_serves_on_or_is_restarted", |lab| {
        let text = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\n";
        let started = lab.start("a", text);
        let (dir, file) = (lab.dir(), lab.files("a").join("dhcp.json"));
        let start = || services::start(&dir, &started, Budget::unlimited());
        lab.guest_beside(1, &["10.0.0.254/32"], &["10.0.0.5"]);
        lab.guest_beside(2, &["10.0.0.254/32"], &["10.0.0.6"]);
        let tell = |n: u32, address: &str| {
            services::guest(&dir, &started, id(n), &client(n, &[address], None), Budget::unlimited())
        };
        // Before there was a number.
        let written = fs::read_to_string(&file).unwrap();
        let number = "{\"xennet\":2,";
        assert!(written.starts_with(number), "{written}");
        fs::write(&file, written.replace(number, "{")).unwrap();
        assert_eq!(start().unwrap(), services::Outcome::Unchanged);
        let newer = written.replace(number, "{\"xennet\":3,\"more\":[1],");
        let fewer = written.replace("\"program\":", "\"was\":");
        let other = written.replace("\"config\":", "\"config\":7,\"was\":");
        let moved = written.replace("\"pid\":", "\"number\":");
        assert!([&newer, &fewer, &other, &moved].iter().all(|text| **text != written));
        for text in [&newer, &fewer, &other, &moved, "", "hello", "[]", "{}"] {
            let before = lab.pids("a");
            fs::write(&file, text).unwrap();
            assert_eq!(lab.pids("a"), before, "{text}: it is found");
            // Guests come and go.
            tell(1, "10.0.0.5").unwrap_or_else(|e| panic!("{text}: {}", e.report()));
            assert_eq!(lab.address(1).as_deref(), Some("10.0.0.5"), "{text}");
            // Also where its dnsmasq has to be restarted for it.
            services::no_guest(&dir, &network("a"), id(1), Budget::unlimited()).unwrap();
            tell(2, "10.0.0.5").unwrap_or_else(|e| panic!("{text}: {}", e.report()));
            assert_eq!(lab.pids("a").len(), 1, "{text}");
            services::no_guest(&dir, &network("a"), id(2), Budget::unlimited()).unwrap();
            // A start writes down what this version knows.
            fs::write(&file, text).unwrap();
            // What it was told is known without its number and its program.
            let outcome = match text.contains("\"xennet\":2") && !text.contains("\"config\":7") {
                true => services::Outcome::Unchanged,
                false => services::Outcome::Restarted,
            };
            assert_eq!(start().unwrap(), outcome, "{text}");
            assert_eq!(start().unwrap(), services::Outcome::Unchanged, "{text}");
        }
        fs::write(&file, "hello").unwrap();
        let (_, pid) = lab.pids("a")[0];
        assert!(services::stop(&dir, &network("a"), Budget::unlimited()).unwrap());
        assert!(gone(pid));
    });
}
