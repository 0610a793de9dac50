//! xennet-hotplug(8): the call of libxl.

use xennet_core::exec::StateDir;
use xennet_core::hotplug::settings;

use super::roff::Page;

pub(super) fn page() -> String {
    let mut page = Page::new("xennet-hotplug", 8, "connects the vifs of guests when libxl calls it");
    page.section("SYNOPSIS");
    page.synopsis("xennet-vif-bridge VERB [NAME=VALUE]...\nxennet-vif-nat VERB [NAME=VALUE]...\nxennet-vif-route VERB [NAME=VALUE]...");
    page.section("DESCRIPTION");
    page.text("libxl calls a program for each vif that comes or goes. `xennet install-scripts` puts xennet there, under names of its own or in the place of Xen's scripts `vif-bridge`, `vif-nat` and `vif-route`. Administrators do not type these calls.");
    page.paragraph("The call reads the vif from xenstore, connects it, verifies that, and writes `hotplug-status`. If something fails, it puts back what was there before and writes the reason into `hotplug-error`; `xl` prints it.");
    page.paragraph("Arguments are data. None of them is evaluated.");
    page.section("VERBS");
    page.text("What the call is for.");
    page.item("online", "A vif has come. It is connected.");
    page.item("offline", "A vif goes, or has gone. It is disconnected, and what belongs to it is removed.");
    page.item("add", "The tap of an emulated card has come (`type_if=tap`).");
    page.item("remove", "The tap goes.");
    page.section("ENVIRONMENT");
    page.text("libxl sets the first four.");
    page.item("XENBUS_PATH", "The directory of the vif in xenstore: `backend/vif/5/0`.");
    page.item("vif", "The link of the vif: `vif5.0`.");
    page.item("INTERFACE", "The tap, with `type_if=tap`: `vif5.0-emu`.");
    page.item("netdev", "The value of `gatewaydev` of the vif line.");
    page.item("XENNET_HOTPLUG_CONFIG", "Another file of settings.");
    page.item(
        "XENSTORED_PATH",
        "The socket of xenstored. Without it the usual places are tried, and the device `/dev/xen/xenbus`.",
    );
    page.section("NODES OF XENSTORE");
    page.text("Read, in the directory of the vif: `bridge`, `ip`, `prefix`, `mac`, `macs`, `policy`, `log`, `vifname`, `mtu`, `vlan`, `isolated`, `type`. Their values are those of the vif line: `xennet-vif`(5).");
    page.item("hotplug-status", "Written: `connected` or `error`.");
    page.item("hotplug-error", "Written: the reason for a failure, in one line.");
    page.section("FILES");
    page.item(settings::DEFAULT_FILE, "The settings: `hotplug.toml`(5).");
    page.item("/etc/xen/scripts", "The scripts that libxl calls.");
    page.item("/etc/xen/scripts/vif-post.d/*.hook", "The hooks of the administrator, which run after each call.");
    page.item("/var/log/xen/xen-hotplug.log", "The log.");
    page.item(StateDir::DEFAULT, "The state directory, with the list of calls that `xennet log` shows.");
    page.section("EXIT STATUS");
    page.item("0", "Done.");
    page.item("1", "It failed. For `online` and `add` the reason is in xenstore.");
    page.section("EXAMPLES");
    page.text("For one guest, in its config:");
    page.lines("vif = [ \"bridge=xenbr0,script=xennet-vif-bridge\" ]");
    page.paragraph("For all guests, in `/etc/xen/xl.conf`:");
    page.lines("vif.default.script=\"xennet-vif-bridge\"");
    page.see_also(
        &["xennet-install-scripts(1)", "xennet-log(1)", "hotplug.toml(5)", "xennet-vif(5)", "xl.conf(5)"]
            .map(str::to_owned),
    );
    page.finish()
}
