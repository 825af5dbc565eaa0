//! Tests of what is made of callgrind's output.
mod common;

use chrome_sockets_bench::plan::{HOT_PATHS, Mode, Peer, profile_of};
use chrome_sockets_bench::report::page::{self, Measured};
use chrome_sockets_bench::report::table::Style;
use chrome_sockets_bench::report::{Budget, Comparison, Counts, Instructions, PathCounts, Profile};
use common::line;

/// A program that allocates, zeroes and locks, with a library that does so too.
const CALLGRIND: &str = "\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 12302
cmd:  /a folder/comparison-0123 server tokio none echo
part: 1

desc: Timerange: Basic block 0 - 200069

positions: line
events: Ir Ge
summary: 41000 57

ob=(3) /usr/lib/x86_64-linux-gnu/libc.so.6
fl=(155) ./malloc/./malloc/malloc.c
fn=(684) malloc
80 900 6
cfn=(700) _int_malloc
calls=9 112
80 500 4

fn=(568) calloc
112 60
cfn=(602) __memset_avx2_unaligned_erms
calls=1 138
112 16408

fn=(602)
138 16400
140 8

fn=(706) realloc
258 30
cfn=(684)
calls=3 80
258 300 2

fl=(142) ./csu/../csu/libc-start.c
fn=(504) __libc_start_main@@GLIBC_2.34
cob=(7) /a folder/comparison-0123
cfi=(140) ???
cfn=(882) comparison::main
calls=1 0
242 41000 57

ob=(7)
fl=(140)
fn=(882)
0 5525 40
cob=(3)
cfi=(155)
cfn=(684)
calls=6 80
0 600 4
cob=(3)
cfi=(155)
cfn=(568)
calls=2 112
0 16468
cob=(3)
cfi=(155)
cfn=(706)
calls=1 258
0 330 2
fi=(9) /rustc/x/library/core/src/sync/atomic.rs
17 3 3

totals: 41000 57
";

#[test]
fn callgrind_counts_instructions_locks_and_allocations() {
    let profile = Profile::read(CALLGRIND).expect("it is complete");
    assert_eq!(profile.instructions, 41_000);
    assert_eq!(profile.locked, 43, "of the program, inlined ones too");
    assert_eq!(profile.locked_in_libraries, 14, "all others");
    assert_eq!(
        profile.allocations, 9,
        "6 + 2 + 1; realloc's own calls of malloc are not further ones"
    );
    assert_eq!(profile.zeroing, 16_408, "not what calloc needs besides");
}

#[test]
fn incomplete_output_of_callgrind_is_an_error() {
    let without = |line: &str| CALLGRIND.replace(line, "");
    let no_locks = CALLGRIND.replace("events: Ir Ge", "events: Ir");
    for (text, said) in [
        (without("totals: 41000 57"), "no totals"),
        (without("events: Ir Ge"), "costs before the events"),
        (no_locks, "no event Ge"),
        (
            CALLGRIND.replace("calls=9 112", "calls="),
            "no number of calls",
        ),
        (String::new(), "no totals"),
    ] {
        let error = Profile::read(&text).expect_err("it is incomplete");
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn an_operation_costs_the_difference_of_two_runs() {
    let few = Profile {
        instructions: 1000,
        locked: 100,
        locked_in_libraries: 7,
        allocations: 10,
        zeroing: 500,
    };
    let many = Profile {
        instructions: 5000,
        locked: 150,
        locked_in_libraries: 7,
        allocations: 35,
        zeroing: 1500,
    };
    let counts = few.per_operation(many, 10);
    assert_eq!(counts, some(400.0, 5.0, 0.0, 2.5, 100.0));
}

fn some(
    instructions: f64,
    locked: f64,
    in_libraries: f64,
    allocations: f64,
    zeroing: f64,
) -> Counts {
    Counts {
        instructions,
        locked,
        locked_in_libraries: in_libraries,
        allocations,
        zeroing,
    }
}

fn path(name: &str, servers: &[(Peer, Counts)]) -> PathCounts {
    PathCounts {
        name: name.to_owned(),
        servers: servers.to_vec(),
    }
}

/// An echo that misses both of its targets, and an accept that meets its only one.
fn counted() -> Instructions {
    let echo = [
        (Peer::ChromeSockets, some(2700.4, 30.5, 11.0, 3.0, 0.0)),
        (Peer::Tokio, some(1350.0, 11.2, 4.0, 0.0, 0.0)),
        (Peer::Epoll, some(53.0, 0.0, 0.0, 0.0, 0.0)),
    ];
    let accept = [
        (
            Peer::ChromeSockets,
            some(13_000.0, 120.0, 60.0, 19.0, 1000.0),
        ),
        (Peer::Tokio, some(26_400.0, 40.0, 9.0, 2.0, 16_400.0)),
    ];
    Instructions {
        date: "2000-01-01T00:00:00Z".to_owned(),
        profile: "release".to_owned(),
        compiler: "1.95.0".to_owned(),
        paths: vec![path("echo-64", &echo), path("accept-64-at-once", &accept)],
        left_out: vec![("echo-64-batches".to_owned(), "not yet".to_owned())],
    }
}

fn budget(lines: &str) -> Budget {
    Budget::read(&format!("profile release\n{lines}")).expect("a valid budget")
}

#[test]
fn counts_are_compared_with_tokios_of_the_same_run() {
    let table = counted().table(Style::Terminal, None).to_string();
    let echo = line(&table, &["echo-64", "instructions"]);
    assert!(echo.contains(" 2,700 "), "{echo}");
    assert!(echo.contains(" 1,350 |"), "{echo}");
    assert!(echo.contains(" 53 |"), "{echo}");
    assert!(echo.contains(" 2.00 | ≤ 1.45 tokio: MISSED"), "{echo}");
    line(
        &table,
        &["locked instructions", " 30.5 |", " 11.2 |", "≤ 12: MISSED"],
    );
    line(&table, &["allocations", " 3.0 |"]);
    assert!(!table.contains("budget"), "{table}");
}

#[test]
fn tokios_zeroing_is_left_out_and_ours_counts() {
    let table = counted().table(Style::Terminal, None).to_string();
    // 13,000 to 26,400 - 16,400.
    let accept = line(&table, &["accept-64-at-once", "instructions"]);
    assert!(
        accept.contains(" 10,000 (left out: 16,400 of zeroing) "),
        "{accept}"
    );
    assert!(accept.contains(" 13,000 "), "{accept}");
    assert!(accept.contains(" 1.30 | ≤ 1.30 tokio: met"), "{accept}");
}

#[test]
fn a_target_without_a_count_is_not_measured() {
    let mut alone = counted();
    alone.paths[0].servers.truncate(1);
    let table = alone.table(Style::Terminal, None).to_string();
    line(&table, &["echo-64", "≤ 1.45 tokio: not measured"]);
}

#[test]
fn a_count_above_its_budget_is_named() {
    let table = |budget: &Budget| counted().table(Style::Terminal, Some(budget)).to_string();
    let within = budget("echo-64 2650 30.5 11 2.9 # comment\naccept-64-at-once 13300 120 60 19");
    assert_eq!(counted().above(&within), [""; 0]);
    assert_eq!(counted().better_lines(&within), [""; 0]);
    line(&table(&within), &["echo-64", " 2,650 (+1.9 %) "]);

    let tight = budget("echo-64 2600 29 10 2.8\naccept-64-at-once 13300 120 60 19");
    let all = [
        "instructions",
        "locked instructions",
        "… in libraries",
        "allocations",
    ];
    let all = all.map(|what| format!("echo-64: {what}"));
    assert_eq!(counted().above(&tight), all);

    // Lower counts, and a path that has none yet, are proposed as lines.
    let loose = budget("echo-64 3000 30.5 11 3");
    assert_eq!(counted().above(&loose), [""; 0]);
    let lines = counted().better_lines(&loose);
    let words: Vec<String> = lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        words,
        [
            "echo-64 2700 30.5 11.0 3.0 # tokio 1350, epoll 53",
            "accept-64-at-once 13000 120.0 60.0 19.0 # tokio 10000"
        ]
    );
    let again = budget(&lines.join("\n"));
    assert_eq!(
        counted().better_lines(&again),
        [""; 0],
        "they are lines of a budget"
    );
    line(&table(&loose), &["accept-64-at-once", " none "]);
}

#[test]
fn small_counts_have_a_tolerance_of_a_tenth() {
    assert_eq!(Comparison::of(0.1, 0.0), Comparison::Within);
    assert_eq!(Comparison::of(0.2, 0.0), Comparison::Above);
    assert_eq!(Comparison::of(103.0, 100.0), Comparison::Within);
    assert_eq!(Comparison::of(103.1, 100.0), Comparison::Above);
    assert_eq!(Comparison::of(96.9, 100.0), Comparison::Below);
}

#[test]
fn a_budget_names_its_profile_and_its_wrong_lines() {
    assert_eq!(budget("").profile, "release");
    for (text, said) in [
        ("echo-64 1 2 3 4", "no line with the profile"),
        ("profile release\necho-64 1", "neither a profile nor a path"),
        ("profile release\necho-64 1 2 3 x", "\"x\" is no count"),
        ("profile release\necho-64 1 2 3 -4", "\"-4\" is no count"),
    ] {
        let error = Budget::read(text).expect_err("it is wrong");
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn the_budget_has_a_line_for_every_path() {
    let text = include_str!("../instructions.txt");
    let budget = Budget::read(text).expect("a valid budget");
    assert_eq!(budget.profile, "release", "the gate's");
    for path in HOT_PATHS {
        if Mode::named(path.mode).is_some() {
            assert!(budget.of(path.name).is_some(), "{}", path.name);
        }
    }
}

#[test]
fn the_page_shows_the_counts_of_each_profile() {
    let lto = Instructions {
        profile: "release-lto".to_owned(),
        ..counted()
    };
    let of = |counts: Instructions| Measured {
        profile: counts.profile.clone(),
        results: None,
        instructions: Some(counts),
    };
    let page = page::with_generated_part("", &[of(counted()), of(lto)]);
    assert_eq!(page.matches("## Instructions\n").count(), 1, "{page}");
    for profile in [
        "### Profile `release`\n",
        "### Profile `release-lto`: fat LTO\n",
    ] {
        assert!(page.contains(profile), "{page}");
    }
    assert_eq!(page.matches("≤ 1.45 tokio: MISSED").count(), 2, "{page}");
    line(&page, &["echo-64-batches is left out: not yet."]);
}

#[test]
fn written_counts_parse_to_the_same() {
    let json = counted().to_json().expect("numbers and texts");
    assert_eq!(Instructions::from_json(&json).expect("valid"), counted());
}

#[test]
fn the_folder_of_a_program_names_its_profile() {
    let of = |program: &str| profile_of(program.as_ref());
    assert_eq!(of("/target/release/deps/comparison-01"), "release");
    assert_eq!(of("/target/release-lto/deps/comparison-01"), "release-lto");
    assert_eq!(of("/target/debug/deps/comparison-01"), "dev");
    assert_eq!(of("/tmp/comparison-01"), "unknown");
    assert_eq!(of("comparison"), "unknown");
}
