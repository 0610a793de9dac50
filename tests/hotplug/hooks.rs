//! Hooks that were written for Xen's scripts, which sourced them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use xennet_tests::in_netns;

use crate::rig::{Rig, outside, routed_network};

fn hook(rig: &Rig, name: &str, text: &str) {
    let path = rig.path("hooks").join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Without a first line, with functions and variables of the scripts, as the hook that Xen's own tests install.
#[test]
fn what_the_scripts_sourced_runs() {
    in_netns("hooks::what_the_scripts_sourced_runs", || {
        if std::process::Command::new("xenstore-read").arg("--help").output().is_err() {
            return;
        }
        let rig = Rig::new();
        outside(&rig, "eth0", "192.0.2.1/24");
        rig.started(&routed_network("dmz"));
        let out = rig.path("out");
        let text = "register() {
            local mac=$(xenstore_read \"$XENBUS_PATH/mac\")
            case $1 in
            online|add) log debug \"adding $mac\"; do_without_error false $mac;;
            offline) log debug \"removing $mac\";;
            esac
        }
        register $command
        [[ $type_if = vif ]] || return 0
        echo \"$command $vif $dev $vifname $domid.$devid $ip [$bridge] $main_ip $(xenstore_read_default $XENBUS_PATH/none no)\" >>OUT
        xenstore_write \"$XENBUS_PATH/seen\" yes
        return 0
        ";
        hook(&rig, "50-fabric.hook", &text.replace("OUT", out.to_str().unwrap()));
        let mac = ("mac", "00:16:3e:01:02:03");
        rig.vif("vif5.0", &[mac, ("bridge", "xenbr0"), ("ip", "192.0.2.5"), ("vifname", "web0")]);
        rig.ok("vif5.0", "online");
        assert_eq!(rig.node("/local/domain/0/backend/vif/5/0/seen").as_deref(), Some("yes"));
        rig.ok("vif5.0", "offline");
        rig.vif("vif6.0", &[mac, ("ip", "10.1.0.6")]);
        rig.ok_of("vif-route", "vif6.0", "online");
        assert_eq!(
            fs::read_to_string(out).unwrap().lines().collect::<Vec<_>>(),
            [
                "online vif5.0 web0 web0 5.0 192.0.2.5 [xenbr0]  no",
                "offline vif5.0 web0 web0 5.0 192.0.2.5 [xenbr0]  no",
                "online vif6.0 vif6.0  6.0 10.1.0.6 [] 192.0.2.1 no",
            ]
        );
        let log = fs::read_to_string(rig.path("xen-hotplug.log")).unwrap();
        assert!(log.contains("adding 00:16:3e:01:02:03") && log.contains("removing 00:16:3e:01:02:03"), "{log}");
        // What is fatal there is fatal here, with its words.
        hook(&rig, "60-fatal.hook", "xenstore_read $XENBUS_PATH/none\n");
        rig.vif("vif7.0", &[mac, ("bridge", "xenbr0")]);
        let got = rig.fails("vif7.0", "online");
        assert!(got.stderr.contains("hook 60-fatal.hook ended with status 1, saying"), "{}", got.stderr);
        assert!(got.stderr.contains("xenstore-read backend/vif/7/0/none failed"), "{}", got.stderr);
    });
}
