//! C and C++ programs against the header and both libraries, with the real compilers.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xennet_core::xenstore::server::{Server, Settings};
use xennet_tests::lease::programs_are_here;
use xennet_tests::{StateDir, World, in_netns};

#[path = "c/bad_input.rs"]
mod bad_input;
#[path = "c/installed.rs"]
mod installed;

const WARNINGS: [&str; 6] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g"];

/// What a program that takes in libxennet.a needs besides, in glibc before 2.34; `rustc --print native-static-libs`.
const NATIVE: [&str; 7] = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

const ALL: [&str; 3] = ["xennet-ffi/tests/c/all.c", "xennet-ffi/tests/c/more.c", "xennet-ffi/tests/c/other.c"];
const ATTACH: [&str; 1] = ["examples/c/attach.c"];
const HOST: [&str; 1] = ["xennet-ffi/tests/c/host.c"];
const NETWORK: [&str; 1] = ["examples/c/network.c"];

#[derive(Clone, Copy)]
enum Language {
    C11,
    Cxx,
}

#[derive(Clone, Copy)]
enum Linked {
    Static,
    Dynamic,
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo has put the libraries that it built for this test: beside the test program.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// A directory for what this test makes, with the shared library under its soname; gone with the value.
fn place() -> StateDir {
    let dir = StateDir::new();
    for link in ["libxennet.so", "libxennet.so.0"] {
        std::os::unix::fs::symlink(libraries().join("libxennet.so"), dir.path().join(link)).unwrap();
    }
    dir
}

fn compile(sources: &[&str], language: Language, linked: Linked, dir: &Path) -> PathBuf {
    let program = dir.join("program");
    let mut compiler = match language {
        Language::C11 => Command::new("cc"),
        Language::Cxx => Command::new("c++"),
    };
    compiler.args(WARNINGS).arg("-o").arg(&program);
    compiler
        .arg("-I")
        .arg(workspace().join("xennet-ffi/include"))
        .arg("-I")
        .arg(workspace().join("xennet-ffi/tests/c"));
    // The others ask the C library for more than the standard, before they take in anything.
    if sources == ALL {
        compiler.arg("-include").arg(workspace().join("xennet-ffi/tests/c/documents.h"));
    }
    match language {
        Language::C11 => compiler.args(["-std=c11", "-pthread", "-Wstrict-prototypes", "-Wmissing-prototypes"]),
        Language::Cxx => compiler.args(["-x", "c++", "-std=c++11"]),
    };
    compiler.args(sources.iter().map(|s| workspace().join(s))).args(["-x", "none"]);
    match linked {
        Linked::Static => compiler.arg(libraries().join("libxennet.a")).args(NATIVE),
        Linked::Dynamic => compiler.arg("-L").arg(dir).arg("-lxennet"),
    };
    succeed(&mut compiler);
    program
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    output
}

/// Runs a program in a directory in which the shared library is under its soname and no other name.
fn run(program: &Path, args: &[&OsStr]) -> Output {
    let dir = program.parent().unwrap();
    let seen = dir.join("documents");
    let mut command = Command::new(program);
    let output = succeed(command.args(args).env("LD_LIBRARY_PATH", dir).env("XENNET_TEST_DOCUMENTS", &seen));
    check_documents(&std::fs::read_to_string(seen).unwrap_or_default());
    output
}

/// Checks what the program has looked at (`documents.h`): each JSON object is one of the documents, or the schema of one.
fn check_documents(mut seen: &str) {
    let mut unknown = Vec::new();
    let names: Vec<&str> = xennet_core::document::ALL.iter().map(|document| document.name).collect();
    while let Some((length, rest)) = seen.split_once('\n') {
        let (text, rest) = rest.split_at(length.parse().unwrap());
        seen = rest.strip_prefix('\n').unwrap();
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) if value.is_object() && value.get("$schema").is_none() => {
                if ["version", "xennet"].iter().any(|member| value.get(member).is_some()) {
                    xennet_tests::documents::check_any(&names, &value);
                } else {
                    unknown.push(value.to_string());
                }
            }
            _ => assert!(!text.starts_with("{\""), "no document: {text}"),
        }
    }
    assert!(unknown.is_empty(), "these have no version:\n{}", unknown.join("\n"));
}

fn everything(language: Language, linked: Linked) {
    let (dir, state) = (place(), StateDir::new());
    let program = compile(&ALL, language, linked, dir.path());
    // From here on only the soname is there, as on a machine without development files.
    std::fs::remove_file(dir.path().join("libxennet.so")).unwrap();
    let store = Server::start(Settings::default()).unwrap();
    let output = run(&program, &[state.path().as_os_str(), store.path().as_os_str()]);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn every_line_of_the_header_in_c_with_the_static_library() {
    everything(Language::C11, Linked::Static);
}

#[test]
fn every_line_of_the_header_in_c_with_the_shared_library() {
    everything(Language::C11, Linked::Dynamic);
}

#[test]
fn every_line_of_the_header_in_cxx_with_the_static_library() {
    everything(Language::Cxx, Linked::Static);
}

#[test]
fn every_line_of_the_header_in_cxx_with_the_shared_library() {
    everything(Language::Cxx, Linked::Dynamic);
}

#[test]
fn no_error_of_memory_and_no_leak() {
    let (dir, state) = (place(), StateDir::new());
    let program = compile(&ALL, Language::C11, Linked::Dynamic, dir.path());
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--quiet",
        "--error-exitcode=9",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect,possible",
    ]);
    valgrind.args(["--errors-for-leak-kinds=definite,indirect,possible"]);
    let known = workspace().join("xennet-ffi/tests/c/valgrind.supp");
    valgrind.arg(format!("--suppressions={}", known.display()));
    let store = Server::start(Settings::default()).unwrap();
    valgrind.arg(program).arg(state.path()).arg(store.path()).env("LD_LIBRARY_PATH", dir.path());
    match Command::new("valgrind").arg("--version").output() {
        Ok(_) => drop(succeed(&mut valgrind)),
        Err(e) if std::env::var_os("CI").is_some() => panic!("no valgrind here, and CI is set: {e}"),
        Err(_) => eprintln!("skipped: no valgrind here"),
    }
}

/// Every standard that the header promises, by every compiler that is here, with all warnings that are none of style.
#[test]
fn the_header_compiles_in_every_standard() {
    const GCC: [&str; 9] = [
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Wconversion",
        "-Wshadow",
        "-Wredundant-decls",
        "-Wundef",
        "-Wcast-qual",
        "-Wwrite-strings",
    ];
    // What says that the header is no C++98, or that C++20 has something that C++98 has not.
    const CLANG: [&str; 5] =
        ["-Weverything", "-Wpedantic", "-Wno-c++98-compat", "-Wno-c++98-compat-pedantic", "-Wno-pre-c++20-compat"];
    let c = ["c99", "c11", "c17", "c2x"];
    let cxx = ["c++11", "c++14", "c++17", "c++20", "c++2b"];
    let here = |compiler: &str| Command::new(compiler).arg("--version").output().is_ok();
    let mut compiled = 0;
    for (compiler, language, standards, warnings) in [
        ("gcc", "c", &c[..], &GCC[..]),
        ("g++", "c++", &cxx[..], &GCC[..]),
        ("clang", "c", &c[..], &CLANG[..]),
        ("clang++", "c++", &cxx[..], &CLANG[..]),
    ] {
        if !here(compiler) {
            assert!(std::env::var_os("CI").is_none(), "no {compiler} here, and CI is set");
            eprintln!("skipped: no {compiler} here");
            continue;
        }
        let dir = StateDir::new();
        let source = dir.path().join("includes");
        std::fs::write(&source, "#include <xennet.h>\n").unwrap();
        for standard in standards {
            let mut command = Command::new(compiler);
            command.arg(format!("-std={standard}")).args(warnings).args(["-Werror", "-fsyntax-only", "-x", language]);
            succeed(command.arg("-I").arg(workspace().join("xennet-ffi/include")).arg(&source));
            compiled += 1;
        }
    }
    assert!(compiled >= 4);
}

#[test]
fn bad_input_gets_an_error_that_names_the_argument() {
    let (dir, store) = (place(), Server::start(Settings::default()).unwrap());
    let abi = std::fs::read_to_string(workspace().join("xennet-ffi/xennet.abi")).unwrap();
    let source = dir.path().join("bad_input.c");
    std::fs::write(&source, bad_input::program(&abi)).unwrap();
    let program = compile(&[source.to_str().unwrap()], Language::C11, Linked::Dynamic, dir.path());
    let settings = dir.path().join("hotplug.toml");
    let state = dir.path().join("hotplug");
    let text = format!("log_file = \"\"\nsyslog = false\nhooks = \"\"\nstate_dir = \"{}\"\n", state.display());
    std::fs::write(&settings, text).unwrap();
    let variable = format!("XENNET_HOTPLUG_CONFIG={}", settings.display());
    let mut command = Command::new(&program);
    command.arg(store.path()).arg(variable).env("LD_LIBRARY_PATH", dir.path()).env("XENNET_HOTPLUG_CONFIG", &settings);
    let output = succeed(&mut command);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_test_program_misses_nothing_of_the_header() {
    let header = std::fs::read_to_string(workspace().join("xennet-ffi/include/xennet.h")).unwrap();
    let program: String = ALL.iter().map(|file| std::fs::read_to_string(workspace().join(file)).unwrap()).collect();
    // Comments name things that others define.
    let code: String =
        header.lines().filter(|l| !l.trim_start().starts_with(['*', '/'])).collect::<Vec<_>>().join("\n");
    let mut missing: Vec<&str> = code
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| ["xennet_", "XENNET_"].iter().any(|start| word.starts_with(start)))
        .filter(|word| !["XENNET_KIND_", "XENNET_FINDING_", "XENNET_H"].iter().any(|start| word.starts_with(start)))
        .filter(|word| *word != "xennet_kind" && !program.contains(word))
        .collect();
    missing.dedup();
    assert!(missing.is_empty(), "not in {ALL:?}: {missing:?}");
}

#[test]
fn the_shared_library_exports_the_functions_of_the_header_and_nothing_else() {
    let output = succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(libraries().join("libxennet.so")));
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut exported: Vec<&str> = listed.lines().filter_map(|l| l.split_whitespace().nth(2)).collect();
    exported.sort_unstable();
    let header = std::fs::read_to_string(workspace().join("xennet-ffi/include/xennet.h")).unwrap();
    let mut declared: Vec<&str> = header
        .lines()
        .filter(|l| !l.starts_with([' ', '#', '/', '}']) && !l.starts_with("typedef"))
        .filter_map(|l| l.split_once('(')?.0.rsplit([' ', '*']).next())
        .collect();
    declared.sort_unstable();
    assert!(declared.len() > 30, "{declared:?}");
    assert_eq!(exported, declared);
}

#[test]
fn the_examples_rehearse_in_memory() {
    for linked in [Linked::Static, Linked::Dynamic] {
        let dir = place();
        let output = run(&compile(&ATTACH, Language::C11, linked, dir.path()), &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("vif5.0") && text.contains("\"bridge\":\"xenbr0\""), "{text}");
        let output = run(&compile(&NETWORK, Language::C11, linked, dir.path()), &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("+ natbr0: new bridge") && text.contains("\"started\":true"), "{text}");
    }
}

#[test]
fn the_example_of_networks_works_on_the_kernel() {
    in_netns("the_example_of_networks_works_on_the_kernel", || {
        let _world = World::build().unwrap();
        let (dir, state) = (place(), StateDir::new());
        let program = compile(&NETWORK, Language::C11, Linked::Dynamic, dir.path());
        let file = dir.path().join("networks.toml");
        std::fs::write(&file, "[network.alone]\nmode = \"bridge\"\nbridge = \"br-alone\"\n").unwrap();
        let output = run(&program, &[file.as_os_str(), OsStr::new("alone"), state.path().as_os_str()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("+ br-alone: new bridge") && text.contains("\"missing\":[]"), "{text}");
        assert!(!Path::new("/sys/class/net/br-alone").exists(), "{text}");

        let mut refused = Command::new(&program);
        refused.arg(&file).arg("wan").arg(state.path()).env("LD_LIBRARY_PATH", dir.path());
        let output = refused.output().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(xennet_core::ErrorKind::Invalid.number())));
        assert!(String::from_utf8_lossy(&output.stderr).contains("hint: networks there: alone"), "{output:?}");
    });
}

#[test]
fn the_example_works_on_the_kernel() {
    in_netns("the_example_works_on_the_kernel", || {
        let mut world = World::build().unwrap();
        world.start(1).unwrap();
        let (dir, state) = (place(), StateDir::new());
        let program = compile(&ATTACH, Language::C11, Linked::Dynamic, dir.path());
        let line = format!("mac=00:16:3e:01:02:03,bridge={}", World::BRIDGE);
        let output = run(&program, &[OsStr::new("1"), OsStr::new(&line), state.path().as_os_str()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\"vif\":\"vif1.0\"") && text.contains("\"ports\":[\"eth0\",\"vif1.0\"]"), "{text}");

        // What cannot be done ends with the number of its kind, and its report on standard error.
        let mut refused = Command::new(&program);
        refused.args(["1", "bridge=eth0"]).arg(state.path()).env("LD_LIBRARY_PATH", dir.path());
        let output = refused.output().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(xennet_core::ErrorKind::NotABridge.number())));
        assert!(String::from_utf8_lossy(&output.stderr).contains("\nhint: "), "{output:?}");
    });
}

/// Runs a part of the program that uses a host as programs do, in a namespace with two vifs.
fn host(test: &str, what: &str) {
    in_netns(test, || {
        let mut world = World::build().unwrap();
        for domid in [1, 2] {
            world.start(domid).unwrap();
        }
        let (dir, state) = (place(), StateDir::new());
        let program = compile(&HOST, Language::C11, Linked::Dynamic, dir.path());
        let output = run(&program, &[OsStr::new(what), state.path().as_os_str()]);
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    });
}

#[test]
fn a_child_keeps_no_lock_that_a_call_had_when_it_was_forked() {
    host("a_child_keeps_no_lock_that_a_call_had_when_it_was_forked", "locks");
}

#[test]
fn a_child_does_not_get_at_its_parent_s_host_and_opens_its_own() {
    host("a_child_does_not_get_at_its_parent_s_host_and_opens_its_own", "child");
}

#[test]
fn sixteen_threads_share_a_host() {
    host("sixteen_threads_share_a_host", "threads");
}

#[test]
fn a_network_is_served_where_children_are_ignored() {
    if programs_are_here("a_network_is_served_where_children_are_ignored") {
        host("a_network_is_served_where_children_are_ignored", "ignored");
    }
}

#[test]
fn a_network_is_served_where_another_thread_waits_for_all_children() {
    if programs_are_here("a_network_is_served_where_another_thread_waits_for_all_children") {
        host("a_network_is_served_where_another_thread_waits_for_all_children", "reaped");
    }
}

#[test]
fn freeing_a_host_does_not_wait_for_the_kernel_s_clean_up() {
    host("freeing_a_host_does_not_wait_for_the_kernel_s_clean_up", "close");
}

#[test]
fn a_host_is_free_while_a_guard_is_waited_for() {
    host("a_host_is_free_while_a_guard_is_waited_for", "guard");
}
