//! What `xennet-ffi/install` installs, and the examples against it: compiled by what pkg-config says, and run.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xennet_core::xenstore::server::{Server, Settings};
use xennet_tests::{StateDir, World, in_netns};

use super::{NATIVE, WARNINGS, libraries, succeed, workspace};

/// An installation in a directory of its own, which goes with it.
struct Installed {
    dir: StateDir,
}

impl Installed {
    fn new() -> Self {
        let installed = Installed { dir: StateDir::new() };
        let mut install = Command::new(workspace().join("xennet-ffi/install"));
        install.arg("--prefix").arg(installed.at("usr")).arg("--from").arg(libraries());
        // It is the fastest, where it is.
        if Command::new("ld.lld").arg("--version").output().is_ok() {
            install.args(["--linker", "lld"]);
        }
        succeed(&mut install);
        installed
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// What pkg-config says of it.
    fn told(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("xennet").env("PKG_CONFIG_PATH", self.at("usr/lib/pkgconfig"));
        let output = succeed(&mut command);
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles one of the examples by that, under a name.
    fn example(&self, example: &str, name: &str, libs: &[&str]) -> PathBuf {
        let program = self.at(name);
        let mut compiler = Command::new("cc");
        compiler.args(WARNINGS).args(["-std=c99", "-D_POSIX_C_SOURCE=200809L"]).args(self.told(&["--cflags"]));
        compiler.arg(workspace().join("examples/c").join(example)).arg("-o").arg(&program).args(self.told(libs));
        compiler.arg(format!("-Wl,-rpath,{}", self.at("usr/lib").display()));
        succeed(&mut compiler);
        program
    }
}

/// A relative directory is one in the prefix, for the files and for pkg-config. A prefix is absolute, and no path has what xennet.pc cannot hold.
#[test]
fn relative_directories_are_in_the_prefix_and_others_are_refused() {
    let dir = StateDir::new();
    let install = |arguments: &[&str]| {
        let mut install = Command::new(workspace().join("xennet-ffi/install"));
        install.args(arguments).arg("--from").arg(libraries()).arg("--destdir").arg(dir.path()).current_dir(dir.path());
        install
    };
    succeed(&mut install(&["--prefix", "/usr", "--libdir", "lib/x86_64-linux-gnu", "--includedir", "include/xen"]));
    let at = |path: &str| dir.path().join(path);
    assert!(at("usr/include/xen/xennet.h").is_file() && at("usr/lib/x86_64-linux-gnu/libxennet.so.0").is_file());
    let told = |variable: &str| {
        let mut command = Command::new("pkg-config");
        command.arg("--variable").arg(variable).arg("xennet");
        command.env("PKG_CONFIG_PATH", at("usr/lib/x86_64-linux-gnu/pkgconfig"));
        text(&succeed(&mut command)).trim_end().to_owned()
    };
    for (variable, path) in
        [("prefix", "/usr"), ("libdir", "/usr/lib/x86_64-linux-gnu"), ("includedir", "/usr/include/xen")]
    {
        assert_eq!(told(variable), path);
    }

    for (arguments, message) in [
        (["--prefix", "usr"], "--prefix usr is no absolute path"),
        (["--prefix", ""], "--prefix  is no absolute path"),
        (["--libdir", "lib | x"], "/usr/local/lib | x cannot be in xennet.pc"),
    ] {
        let output = install(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(message) && said.contains("\nhint: "), "{said}");
    }
    // Neither the directory that it ran in nor another one has anything of it.
    let made: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["usr"]);
}

fn functions() -> BTreeSet<String> {
    let map = std::fs::read_to_string(workspace().join("xennet-ffi/xennet.map")).unwrap();
    let names = map.lines().filter_map(|line| line.trim().strip_suffix(';')).filter(|name| name.starts_with("xennet_"));
    names.map(str::to_owned).collect()
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Everything about one installation, which takes some seconds to make.
#[test]
fn the_installed_library_has_its_versions_and_the_examples_work_with_it() {
    in_netns("installed::the_installed_library_has_its_versions_and_the_examples_work_with_it", || {
        let installed = Installed::new();
        files_and_versions(&installed);
        rehearsals(&installed);
        a_hotplug_helper(&installed);
        a_watcher(&installed);
    });
}

fn files_and_versions(installed: &Installed) {
    let version = env!("CARGO_PKG_VERSION");
    let lib = installed.at("usr/lib");
    assert_eq!(std::fs::read_link(lib.join("libxennet.so")).unwrap(), Path::new("libxennet.so.0"));
    assert_eq!(std::fs::read_link(lib.join("libxennet.so.0")).unwrap(), Path::new(&format!("libxennet.so.{version}")));
    let header = workspace().join("xennet-ffi/include/xennet.h");
    assert_eq!(std::fs::read(installed.at("usr/include/xennet.h")).unwrap(), std::fs::read(header).unwrap());

    let symbols = text(&succeed(Command::new("objdump").arg("-T").arg(lib.join("libxennet.so"))));
    let exported: BTreeSet<String> = symbols
        .lines()
        .filter(|line| !line.contains("*UND*") && line.split_whitespace().count() > 4 && !line.contains("*ABS*"))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [.., version, name] = words[..] else { return None };
            (!line.starts_with("DYNAMIC")).then(|| format!("{name}@{version}"))
        })
        .collect();
    let wanted: BTreeSet<String> = functions().iter().map(|name| format!("{name}@XENNET_0.1")).collect();
    assert_eq!(exported, wanted);
    let dynamic = text(&succeed(Command::new("readelf").arg("-d").arg(lib.join("libxennet.so"))));
    assert!(dynamic.contains("Library soname: [libxennet.so.0]") && dynamic.contains("NODELETE"), "{dynamic}");
    assert!(dynamic.contains("BIND_NOW") && !dynamic.contains("TEXTREL"), "{dynamic}");

    // What a static program needs besides is what the compiler of Rust says of its own library.
    assert_eq!(installed.told(&["--modversion"]), [version]);
    let all = installed.told(&["--static", "--libs"]);
    assert_eq!(all[all.len() - NATIVE.len()..], NATIVE);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    let archive = installed.at("empty.a");
    let source = installed.at("empty.rs");
    std::fs::write(&source, "").unwrap();
    rustc.args(["--crate-type", "staticlib", "--print", "native-static-libs", "-o"]).arg(archive).arg(source);
    let said = String::from_utf8(succeed(&mut rustc).stderr).unwrap();
    assert!(said.contains(&format!("native-static-libs: {}", NATIVE.join(" "))), "{said}");
}

fn rehearsals(installed: &Installed) {
    let run = |program: &Path| text(&succeed(&mut Command::new(program)));
    let shown = run(&installed.example("attach.c", "attach", &["--libs"]));
    assert!(shown.contains("\"bridge\":\"xenbr0\""), "{shown}");
    let shown = run(&installed.example("network.c", "network", &["--libs"]));
    assert!(shown.contains("\"started\":true"), "{shown}");
    let toolstack = installed.example("toolstack.c", "toolstack", &["--libs"]);
    let output = succeed(&mut Command::new(&toolstack));
    let (shown, told) = (text(&output), String::from_utf8(output.stderr).unwrap());
    assert!(shown.contains("\"network\":\"private\"") && shown.contains("\"vif\":\"vif5.1\""), "{shown}");
    assert!(
        shown.ends_with("\nstopped private\n") && told.contains("[info] vif5.1: becomes a port of natbr0"),
        "{shown}{told}"
    );

    // The archive alone, without the shared library beside it.
    std::fs::remove_file(installed.at("usr/lib/libxennet.so")).unwrap();
    let program = installed.example("attach.c", "attach-static", &["--static", "--libs"]);
    let needed = text(&succeed(Command::new("readelf").arg("-d").arg(&program)));
    assert!(!needed.contains("libxennet"), "{needed}");
    assert!(run(&program).contains("\"vif\":\"vif5.0\""));
    std::os::unix::fs::symlink("libxennet.so.0", installed.at("usr/lib/libxennet.so")).unwrap();

    networks_of_others_stay(installed, &toolstack);

    // What is wrong is said by the program that is called wrongly, and nothing is done.
    let mut refused = Command::new(toolstack);
    let output = refused.args(["/nonexistent/networks.toml", "5", "/nonexistent/domain.cfg"]).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(xennet_core::ErrorKind::Io.number())));
}

/// On the kernel: the toolstack stops the networks that it has started, and no other ones, also where a vif cannot be attached.
fn networks_of_others_stay(installed: &Installed, toolstack: &Path) {
    let network = |name: &str| format!("[network.{name}]\nmode = \"bridge\"\nbridge = \"br-{name}\"\n");
    let all = installed.at("all.toml");
    std::fs::write(&all, ["theirs", "one", "two"].map(network).concat()).unwrap();
    // A vif that is not there.
    let domain = installed.at("domain.cfg");
    std::fs::write(&domain, "vif = [ 'mac=00:16:3e:00:00:09,bridge=br-one' ]\n").unwrap();
    let state = StateDir::new();
    let mut host = xennet_core::Host::netlink().unwrap().with_state_dir(xennet_core::exec::StateDir::at(state.path()));
    let described = xennet_core::config::networks::parse(&network("theirs")).unwrap();
    let theirs = described.iter().next().unwrap();
    host.start_network(theirs).unwrap();
    let mut command = Command::new(toolstack);
    command.arg(&all).arg("9").arg(&domain).arg(state.path());
    let output = command.output().unwrap();
    let (shown, told) = (text(&output), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(i32::from(xennet_core::ErrorKind::LinkNotFound.number())), "{told}");
    let stopped: BTreeSet<&str> = shown.lines().filter_map(|line| line.strip_prefix("stopped ")).collect();
    assert_eq!(stopped, BTreeSet::from(["one", "two"]), "{shown}{told}");
    assert_eq!(host.started_in_order_of_stop().unwrap().len(), 1);
    host.stop_network(&theirs.name(), xennet_core::Guests::MustHaveGone).unwrap();
}

/// A vif comes and goes by calls as libxl makes them.
fn a_hotplug_helper(installed: &Installed) {
    let lines = std::fs::read_to_string(workspace().join("examples/c/hotplug.c")).unwrap().lines().count();
    assert!(lines < 40, "{lines} lines");
    let program = installed.example("hotplug.c", "vif-bridge", &["--libs"]);
    let mut world = World::build().unwrap();
    world.start(1).unwrap();
    let store = Server::start(Settings::default()).unwrap();
    let backend = "/local/domain/0/backend/vif/1/0";
    let node = |name: &str| {
        store.tree(|tree| tree.get(&format!("{backend}/{name}")).map(|v| String::from_utf8_lossy(v).into_owned()))
    };
    let set = |name: &str, value: &str| {
        store.tree(|tree| tree.set(&format!("{backend}/{name}"), value.as_bytes()).unwrap());
    };
    for (name, value) in [("bridge", World::BRIDGE), ("mac", "00:16:3e:00:00:01"), ("hotplug-status", "")] {
        set(name, value);
    }
    let settings = installed.at("hotplug.toml");
    let (state, log) = (installed.at("state"), installed.at("xen-hotplug.log"));
    let lines = format!("log_file = {log:?}\nstate_dir = {state:?}\nsyslog = false\nhooks = \"\"\n");
    std::fs::write(&settings, lines).unwrap();
    let call = |verb: &str| {
        let mut call = Command::new(&program);
        call.args([verb, "type_if=vif"]).env_clear().env("vif", "vif1.0").env("XENBUS_PATH", "backend/vif/1/0");
        call.env("XENSTORED_PATH", store.path()).env("XENNET_HOTPLUG_CONFIG", &settings);
        let output = call.output().unwrap();
        assert!(output.stdout.is_empty(), "a script says nothing on standard output");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let is_port =
        || text(&succeed(Command::new("ip").args(["link", "show", "dev", "vif1.0"]))).contains(" master xenbr0 ");
    assert_eq!(call("online"), (Some(0), String::new()));
    assert_eq!(node("hotplug-status").as_deref(), Some("connected"));
    assert!(is_port(), "it is not on its bridge");
    assert_eq!(call("offline"), (Some(0), String::new()));
    assert!(!is_port(), "it is still on its bridge");

    set("bridge", "xenbr9");
    let (code, told) = call("online");
    assert_eq!(code, Some(1));
    assert!(told.starts_with("vif-bridge: error: ") && told.contains("hint: "), "{told}");
    assert_eq!(node("hotplug-status").as_deref(), Some("error"));
    assert!(node("hotplug-error").unwrap().contains("xenbr9"));
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(logged.contains("online vif1.0: connected") && logged.contains("online vif1.0: error"), "{logged}");
}

/// What happens is told as it happens, by a program that waits in poll.
fn a_watcher(installed: &Installed) {
    let program = installed.example("watcher.c", "watcher", &["--libs"]);
    let store = Server::start(Settings::default()).unwrap();
    let mut command = Command::new(program);
    // Enough for the slowest machine; it is ended as soon as everything was told.
    command.arg("60").env("XENSTORED_PATH", store.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |wanted: &str| {
        let seen: Vec<String> = lines.by_ref().take(100).take_while(|line| !line.contains(wanted)).collect();
        assert!(seen.len() < 100, "{wanted} is not in {seen:?}");
    };
    // The watch tells at once that it is there; then both can be heard.
    until("\"path\":\"backend/vif\"");
    store.tree(|tree| tree.set("/local/domain/0/backend/vif/3/0/state", b"2").unwrap());
    until("\"path\":\"backend/vif/3/0/state\"");
    succeed(Command::new("ip").args(["link", "add", "vif3.0", "type", "veth", "peer", "name", "g3"]));
    until("\"event\":\"appeared\",\"index\"");
    succeed(Command::new("ip").args(["link", "del", "vif3.0"]));
    until("\"event\":\"gone\"");
    child.kill().unwrap();
    child.wait().unwrap();
}
