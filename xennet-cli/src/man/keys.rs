//! The pages of our files and of vif lines, made of the tables of their keys.

use serde_json::Value;
use xennet_core::config::{VIF_KEYS, networks};
use xennet_core::document;
use xennet_core::hotplug::settings;

use super::roff::Page;
use super::words::{kind, toml};

/// The keys of a file, from its schema.
fn schema(name: &str) -> Value {
    document::schema(name).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// networks.toml(5).
pub(super) fn networks() -> String {
    let mut page = Page::new("networks.toml", 5, "the networks of a Xen host");
    page.section("SYNOPSIS");
    page.text(networks::PATH);
    page.section("DESCRIPTION");
    page.text("The file describes the networks of this host. It is TOML. Each network is a table, `[network.NAME]`, with the keys below.");
    page.paragraph(
        "NAME is the name of the network: at most 15 characters, as a link's name. Vif lines name the network with `bridge=NAME`. \
         In bridge mode they may name its bridge instead.",
    );
    page.paragraph("An unknown key, a key of another mode, and networks that contradict each other are errors. `xennet parse networks FILE` checks a file.");
    page.paragraph(
        "A started network takes over changes of some keys when it is started again; this page says so below each. Any other change is \
         refused until the network is stopped.",
    );
    let schema = schema("networks-file");
    for (mode, what) in [
        ("bridge", "Guests are stations of the LAN."),
        ("nat", "Guests are hidden behind dom0's address."),
        ("routed", "Guests have addresses of their own, and dom0 is their router."),
    ] {
        page.section(&format!("KEYS OF MODE {}", mode.to_uppercase()));
        page.text(what);
        keys(&mut page, &schema["$defs"][mode]);
    }
    page.section("PORT FORWARDS");
    page.text("An item of `forward` is a table with these keys.");
    keys(&mut page, &schema["$defs"]["forward"]);
    page.section("EXAMPLES");
    page.text("A bridge with the uplink eth0:");
    page.lines("[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"");
    page.paragraph("Guests behind dom0's address:");
    page.lines(
        "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\ndhcp = true\ndns = true",
    );
    page.paragraph("A subnet that the provider routes to this host:");
    page.lines("[network.dmz]\nmode = \"routed\"\nsubnets = [\"192.0.2.0/28\"]\nuplink = \"eth0\"");
    page.section("FILES");
    page.item(networks::PATH, "The file. `--file` names another one.");
    page.see_also(
        &["xennet-network(1)", "xennet-advise(1)", "xennet-parse-networks(1)", "xennet-vif(5)"].map(str::to_owned),
    );
    page.finish()
}

/// hotplug.toml(5).
pub(super) fn hotplug() -> String {
    let mut page = Page::new("hotplug.toml", 5, "the settings of xennet's hotplug calls");
    page.section("SYNOPSIS");
    page.text(settings::DEFAULT_FILE);
    page.section("DESCRIPTION");
    page.text("The file has the settings of the calls that libxl makes for each vif. It is TOML. Every key may be missing. Without the file the defaults hold.");
    page.paragraph("A mistake in the file fails every call, with the line in the message. `xennet parse hotplug` checks the file and shows every setting.");
    page.section("KEYS");
    page.text("The keys of the file.");
    keys(&mut page, &schema("hotplug-file"));
    page.section("EXAMPLES");
    page.text("Guests on the bridge br-dmz do not reach each other, and a call takes at most 15 seconds:");
    page.lines("isolated = [\"br-dmz\"]\ndeadline = 10\nhook_deadline = 5");
    page.section("FILES");
    page.item(settings::DEFAULT_FILE, "The file. The variable `XENNET_HOTPLUG_CONFIG` names another one.");
    page.see_also(&["xennet-hotplug(8)", "xennet-parse-hotplug(1)", "xennet-install-scripts(1)"].map(str::to_owned));
    page.finish()
}

/// xennet-vif(5).
pub(super) fn vif() -> String {
    let mut page = Page::new("xennet-vif", 5, "the keys of a vif line");
    page.section("SYNOPSIS");
    page.text("vif = [ \"mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.5\" ]");
    page.section("DESCRIPTION");
    page.text("A string of `vif = [ ... ]` in a domain's config describes one network interface. Items are separated by commas. An item is `KEY=VALUE`, or a flag.");
    page.paragraph("`bridge` and `script` decide about the mode. `bridge=NAME` with the name of a started network means that network, in its mode. Otherwise `script=vif-nat` means NAT mode, `script=vif-route` routed mode, and anything else bridge mode.");
    page.paragraph("xl does not know the keys that are marked with xennet. With xl, write the node of that name beside the node `ip` of the vif in xenstore. xennet also carries the keys `colo_*`.");
    page.section("KEYS");
    page.text("The keys, and what xennet does for each.");
    for key in VIF_KEYS {
        let mut text = match () {
            () if key.bridge == key.nat && key.nat == key.routed => key.bridge.to_owned(),
            () if key.nat == key.routed => format!("On a bridge: {}\n\nNAT and routed: {}", key.bridge, key.nat),
            () if key.bridge == key.nat => format!("On a bridge and NAT: {}\n\nRouted: {}", key.bridge, key.routed),
            () => format!("On a bridge: {}\n\nNAT: {}\n\nRouted: {}", key.bridge, key.nat, key.routed),
        };
        text.push_str(&format!(
            "\n\nIf it is left out: {}. Example: `{}`. Known to: {}.",
            key.absent, key.example, key.by
        ));
        page.item(if key.has_value { format!("{}=", key.name) } else { key.name.to_owned() }.as_str(), &text);
    }
    page.section("EXAMPLES");
    page.text("A guest on the bridge xenbr0 that sends from one address:");
    page.lines("vif = [ \"mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.5\" ]");
    page.section("FILES");
    page.item("/etc/xen", "The configs of domains, on most hosts.");
    page.see_also(&["xennet-attach(1)", "xennet-parse-vif(1)", "networks.toml(5)", "xl.cfg(5)"].map(str::to_owned));
    page.finish()
}

fn keys(page: &mut Page, table: &Value) {
    for (name, key) in table["properties"].as_object().into_iter().flatten() {
        page.item(name, &described(key, table["required"].as_array().is_some_and(|all| all.iter().any(|n| n == name))));
    }
}

/// What a key does, its type, its default and its example.
fn described(key: &Value, is_needed: bool) -> String {
    let mut text = key["description"].as_str().unwrap_or_default().to_owned();
    text.push_str(&format!("\n\nType: {}.", kind(key)));
    let default = match (&key["default"], key["x-default"].as_str()) {
        (Value::Null, Some(words)) => format!("If it is left out: {words}."),
        (Value::Null, None) if is_needed => "It has to be there.".to_owned(),
        (Value::Null, None) => String::new(),
        (value, _) => format!("Default: `{}`.", toml(value)),
    };
    text.push_str(&format!(" {default} Example: `{}`.", toml(&key["examples"][0])));
    if key["x-while-started"] == true {
        text.push_str(" A started network takes over a change.");
    }
    text
}
