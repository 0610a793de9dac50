//! Bad input to every function of the header: a program is made of the header's declarations, so that none can be left out. For each argument in
//! turn it gives everything that is no use there, the other arguments being fit.

use std::fmt::Write as _;

/// A function of the header.
struct Function<'a> {
    returns: &'a str,
    name: &'a str,
    /// Type and name of each argument.
    arguments: Vec<(&'a str, &'a str)>,
}

/// The declarations in `xennet.abi`, which a test compares with the header.
fn functions(abi: &str) -> Vec<Function<'_>> {
    let is_function = |line: &&str| !line.starts_with(['#', 'X']) && !line.starts_with("typedef");
    abi.lines().filter(is_function).map(function).collect()
}

fn function(line: &str) -> Function<'_> {
    let split = |declared: &str| declared.rfind([' ', '*']).unwrap() + 1;
    let (head, arguments) = line.split_once('(').unwrap();
    let arguments = arguments.trim_end_matches(')').split(", ").filter(|a| *a != "void");
    let arguments = arguments.map(|a| (a[..split(a)].trim(), &a[split(a)..])).collect();
    Function { returns: head[..split(head)].trim(), name: &head[split(head)..], arguments }
}

/// Functions that a table cannot call, each with where it is called instead.
const LEFT_OUT: [(&str, &str); 2] = [
    ("xennet_guard", "it waits for another process, and leaves its session: more.c calls it in a child"),
    ("xennet_hotplug", "it says on standard error what is wrong: more.c and the example call it"),
];

/// What can be given for an argument: an expression of C, and what the message must say of it. `None`: any answer will do.
struct Given {
    value: String,
    must: Option<String>,
}

fn fit(value: impl Into<String>) -> Given {
    Given { value: value.into(), must: None }
}

fn wrong(value: impl Into<String>, must: String) -> Given {
    Given { value: value.into(), must: Some(must) }
}

/// A text that is fit for an argument of this name, so that what is wrong with another argument is what is seen.
fn fit_text(function: &str, name: &str) -> &'static str {
    match (function, name) {
        (_, "vif") => "bridge=xenbr0",
        (_, "network") => {
            "{\\\"name\\\": \\\"n\\\", \\\"mode\\\": \\\"bridge\\\", \\\"bridge\\\": {\\\"name\\\": \\\"n\\\"}}"
        }
        (_, "networks") => "{\\\"networks\\\": []}",
        (_, "bridge") => "{\\\"name\\\": \\\"br-x\\\"}",
        (_, "recording") => "{\\\"version\\\": 1, \\\"taken\\\": {}, \\\"snapshot\\\": {}}",
        (_, "wish") => "{\\\"dhcp\\\": true}",
        (_, "answers") => "{\\\"lan\\\": \\\"no\\\"}",
        (_, "form") => "text",
        (_, "format") => "ifupdown",
        (_, "scheme") => "local",
        (_, "subject") => "vif5.0",
        (_, "protocol") => "tcp",
        (_, "from" | "to") => "192.0.2.1",
        (_, "permissions" | "links" | "faults") => "[]",
        ("xennet_networks_get", "text") => "[network.x]\\nmode = \\\"bridge\\\"\\nbridge = \\\"br-x\\\"\\n",
        ("xennet_rate_parse", "text") => "1Mb/s",
        ("xennet_mac_parse", "text") => "00:16:3e:00:00:01",
        ("xennet_vlan_parse", "text") => "1",
        (name, "path") if name.starts_with("xennet_store_") => "/x",
        (_, "input") => "{}",
        _ => "x",
    }
}

/// What a text can be: the first is fit.
fn texts(function: &str, name: &str) -> Vec<Given> {
    let longest = if name == "recording" { "XENNET_RECORDING_MAX" } else { "XENNET_TEXT_MAX" };
    let fitting = fit_text(function, name);
    let mut all = vec![
        fit(format!("\"{fitting}\", sizeof(\"{fitting}\") - 1")),
        wrong("\"x\", SIZE_MAX", format!("{name} is too long")),
        wrong(format!("large, (size_t){longest} + 1"), format!("{name} is too long")),
    ];
    // Texts that are anything but fit, and that are refused or taken for what they are.
    for value in [
        "NULL, 0",
        "large, XENNET_TEXT_MAX",
        "nested, XENNET_TEXT_MAX",
        "\"a\\0b\", 3",
        "\"{\\\"a\\\": 1e999}\", 12",
        "\"{\\\"name\\\": \\\"\\\\ud800\\\"}\", 18",
        "\"[18446744073709551616]\", 22",
        "\"-1\", 2",
        "\"{}\", 2",
        "\"[]\", 2",
        "\"null\", 4",
        "\"\\n\\033[2J%s%n\", 9",
    ] {
        all.push(fit(value));
    }
    // NULL says "none" of these, whatever the length.
    let may_lack = match name {
        "file" | "wish" | "protocol" => true,
        "network" => function == "xennet_guest_config",
        _ => false,
    };
    all.push(if may_lack { fit("NULL, 1") } else { wrong("NULL, 1", format!("{name} is NULL")) });
    // Paths of files, and values of xenstore, are bytes.
    let is_bytes =
        name == "state_dir" || name == "value" || matches!(function, "xennet_settings_state_dir" | "xennet_store_new");
    let strange = "\"\\xff\\xfe\", 2";
    all.push(if is_bytes { fit(strange) } else { wrong(strange, format!("{name} is not UTF-8")) });
    all
}

/// What can be given for the argument at a place; the first is fit. A text and its length are given together.
fn given(function: &Function<'_>, at: usize) -> Vec<Given> {
    let (kind, name) = function.arguments[at];
    let null = |name: &str, may_lack: bool| match may_lack {
        true => fit("NULL"),
        false => wrong("NULL", format!("{name} is NULL")),
    };
    match kind {
        "const char *" => texts(function.name, name),
        // Not to wait for what never comes.
        "uint32_t" if name == "milliseconds" => ["0", "1"].map(fit).into(),
        "uint32_t" => ["0", "1", "99", "32752", "65536", "UINT32_MAX"].map(fit).into(),
        "int32_t" => ["1", "0", "-1", "999999", "INT32_MAX"].map(fit).into(),
        "size_t" => ["1"].map(fit).into(),
        "char *const *" => {
            vec![fit(if name == "envp" { "environment" } else { "none" }), fit("strange"), null(name, name == "envp")]
        }
        "xennet_log" | "void *" => vec![fit("NULL")],
        _ if kind.ends_with("**") || kind == "uint32_t *" => {
            let out = kind.trim_end_matches(['*', ' ']).trim_start_matches("xennet_");
            vec![fit(format!("&out_{out}")), null(name, matches!(name, "done" | "record"))]
        }
        _ => {
            let handle = kind.trim_start_matches("const ").trim_end_matches(['*', ' ']).trim_start_matches("xennet_");
            vec![fit(handle), null(name, function.name == "xennet_host_new")]
        }
    }
}

/// The places of a function's arguments: a text and its length are one.
fn places(function: &Function<'_>) -> Vec<usize> {
    let names: Vec<&str> = function.arguments.iter().map(|(_, name)| *name).collect();
    let is_length = |at: usize| at > 0 && names[at] == format!("{}_len", names[at - 1]);
    (0..names.len()).filter(|at| !is_length(*at)).collect()
}

/// The calls of a function that answers with an error: each argument in turn is everything that it can be.
fn calls(function: &Function<'_>) -> Vec<String> {
    let choices: Vec<Vec<Given>> = places(function).into_iter().map(|at| given(function, at)).collect();
    let call = |varied: usize, option: usize| {
        let pick = |place: usize| &choices[place][if place == varied { option } else { 0 }];
        let values: Vec<&str> = (0..choices.len()).map(|place| pick(place).value.as_str()).collect();
        let must = choices[varied][option].must.as_ref().map_or("NULL".to_owned(), |text| format!("\"{text}\""));
        format!("    answered({}({}), __LINE__, {must});\n", function.name, values.join(", "))
    };
    (0..choices.len())
        .flat_map(|varied| (0..choices[varied].len()).map(move |option| (varied, option)))
        .map(|(v, o)| call(v, o))
        .collect()
}

/// The whole program.
///
/// # Panics
/// If there is a function that is neither called nor left out for a reason.
pub(crate) fn program(abi: &str) -> String {
    let mut text = String::new();
    for function in functions(abi).iter().filter(|f| LEFT_OUT.iter().all(|(name, _)| *name != f.name)) {
        let number = if function.arguments.iter().any(|(kind, _)| *kind == "uint32_t") { "UINT32_MAX" } else { "NULL" };
        match (function.returns, function.arguments.len()) {
            ("xennet_error *", _) => calls(function).iter().for_each(|call| text.push_str(call)),
            // The others take NULL, and answer nothing.
            ("void", 1) => writeln!(text, "    {}({number});", function.name).unwrap(),
            ("const char *", 1) => writeln!(text, "    CHECK({}({number}) == NULL);", function.name).unwrap(),
            ("int32_t", 1) if function.name.ends_with("_fd") => {
                writeln!(text, "    CHECK({}(NULL) == -1);", function.name).unwrap()
            }
            ("uint32_t" | "int32_t" | "size_t", 1) => {
                writeln!(text, "    CHECK({}(NULL) == 0);", function.name).unwrap()
            }
            ("const char *", 0) => writeln!(text, "    CHECK({}() != NULL);", function.name).unwrap(),
            _ => panic!("how is {} called?", function.name),
        }
    }
    HEAD.replace("CALLS", &text)
}

const HEAD: &str = r#"/* Made by bad_input.rs. */
#include "check.h"

static char *large, *nested;
static xennet_host *host, *out_host;
static xennet_plan *plan, *out_plan;
static xennet_text *out_text;
static xennet_store *store, *out_store;
static xennet_links *links, *out_links;
static xennet_settings *settings, *out_settings;
static uint32_t out_uint32_t;
static unsigned refusals, successes;

/* Whatever was asked: it succeeded, or there is an error that says something. What comes out is written on success only. */
static void answered(xennet_error *error, int line, const char *must)
{
    if (error == NULL) {
        successes++;
        if (must != NULL) {
            fprintf(stderr, "line %d: wanted \"%s\", and it was taken\n", line, must);
            exit(1);
        }
        xennet_host_free(out_host);
        xennet_plan_free(out_plan);
        xennet_text_free(out_text);
        xennet_store_free(out_store);
        xennet_links_free(out_links);
        xennet_settings_free(out_settings);
    } else {
        refusals++;
        if (out_host != NULL || out_plan != NULL || out_text != NULL || out_store != NULL || out_links != NULL || out_settings != NULL ||
            xennet_error_kind(error) == XENNET_KIND_NONE || xennet_error_kind(error) == XENNET_KIND_INTERNAL ||
            xennet_error_message(error)[0] == '\0' || strlen(xennet_error_message(error)) > 20000 ||
            (must != NULL && (xennet_error_kind(error) != XENNET_KIND_INVALID || !has(xennet_error_message(error), must)))) {
            fprintf(stderr, "line %d: wanted \"%s\", not %.300s\n", line, must != NULL ? must : "a good error", xennet_error_report(error));
            exit(1);
        }
        xennet_error_free(error);
    }
    out_host = NULL;
    out_plan = NULL;
    out_text = NULL;
    out_store = NULL;
    out_links = NULL;
    out_settings = NULL;
}

int main(int argc, char **argv)
{
    static char program[] = "vif-bridge", word[] = "\xff\xfe";
    char *none[] = { program, NULL };
    char *strange[] = { word, word, NULL };
    char *environment[] = { NULL, NULL };

    CHECK(argc == 3);
    /* NAME=FILE: the settings of hotplug, so that nothing is logged on this machine. */
    environment[0] = argv[2];
    /* One byte more than is ever taken is never touched. */
    large = (char *)malloc(XENNET_TEXT_MAX);
    nested = (char *)malloc(XENNET_TEXT_MAX);
    CHECK(large != NULL && nested != NULL);
    memset(large, 'x', XENNET_TEXT_MAX);
    memset(nested, '[', XENNET_TEXT_MAX);
    accepted(xennet_settings_new(&settings));
    accepted(xennet_host_new_fake(&host));
    accepted(xennet_host_plan_attach(host, 5, TEXT("bridge=xenbr0"), &plan));
    accepted(xennet_store_new(argv[1], strlen(argv[1]), 0, &store));
    accepted(xennet_links_new(&links));
CALLS    CHECK(refusals > 500 && successes > 50);
    xennet_links_free(links);
    xennet_store_free(store);
    xennet_plan_free(plan);
    xennet_host_free(host);
    xennet_settings_free(settings);
    free(nested);
    free(large);
    return 0;
}
"#;
