//! Checks that `docs/faults.md` and the matrix agree.

use chrome_sockets::NetError;
use chrome_sockets::testing::Errno;

use super::matrix::{Outcome, PAGES, Page};

impl Outcome {
    /// By what it is reported, its effect, and what is kept: the columns of the page.
    fn columns(self) -> [String; 3] {
        use Outcome::*;
        let (reported, happens, kept) = match self {
            NotListening(code) => (
                format!("`listen` answers {}", code_and_name(code)),
                "nothing is bound",
                "the socket, unchanged; it can listen again",
            ),
            NotConnected(code) => (
                format!("`connect` answers {}", code_and_name(code)),
                "not connected; the name's next address is tried first",
                "the socket, unchanged; it can connect again",
            ),
            Paused(code) => (
                format!("`onAcceptError` {}", code_and_name(code)),
                "paused until the app resumes it",
                "the backlog, the address, every connection",
            ),
            AcceptedAgain => (
                "not reported".to_owned(),
                "accept is called again",
                "everything; not paused",
            ),
            Aborted => (
                "not reported; that client sees a reset".to_owned(),
                "the next client is accepted",
                "everything else; not paused",
            ),
            Ended(code) => (
                format!("`onReceiveError` {}", code_and_name(code)),
                "the connection is closed",
                "data received before; the socket, which can connect again",
            ),
            ReadAgain => (
                "not reported".to_owned(),
                "read is called again",
                "everything",
            ),
            Unwritable(code) => (
                format!(
                    "every waiting and later `send` answers {}",
                    code_and_name(code)
                ),
                "nothing more is written",
                "later data is received, and then the end is reported",
            ),
            Broken(code, end) => (
                format!(
                    "every waiting and later `send` answers {}, then `onReceiveError` {}",
                    code_and_name(code),
                    code_and_name(end)
                ),
                "the connection is closed",
                "data received before; the socket, which can connect again",
            ),
            WrittenAgain => (
                "not reported".to_owned(),
                "write is called again",
                "everything",
            ),
        };
        [reported, happens.to_owned(), kept.to_owned()]
    }
}

/// For example `-12 INSUFFICIENT_RESOURCES`.
fn code_and_name(code: i32) -> String {
    let error = NetError::from_code(code);
    let error = error.unwrap_or_else(|| panic!("{code} is in no table"));
    format!("{code} {}", error.name())
}

/// The section of `docs/faults.md` about this manual page.
fn section(page: &Page) -> String {
    let mut text = format!(
        "## {}\n\nTest: `injection::matrix::{}`\n\n\
         | errno | reported by | effect | kept |\n|---|---|---|---|\n",
        page.name, page.test
    );
    for (errno, outcome) in page.rows {
        let [reported, happens, kept] = outcome.columns();
        text += &format!("| `{errno}` | {reported} | {happens} | {kept} |\n");
    }
    text
}

#[test]
fn faults_md_and_the_matrix_agree_row_by_row() {
    let page = include_str!("../../../docs/faults.md");
    for expected in PAGES.iter().map(section) {
        let title = expected.lines().next().unwrap_or_default();
        let from = page.find(title).unwrap_or_else(|| panic!("no {title:?}"));
        let found = &page[from..];
        let end = found[1..].find("\n## ").map_or(found.len(), |end| end + 2);
        assert_eq!(found[..end].trim_end(), expected.trim_end());
    }
    let sections = page.matches("\nTest: `injection::matrix::").count();
    assert_eq!(sections, PAGES.len(), "a section that is not in the matrix");
}

#[test]
fn each_row_has_a_test_and_is_unique() {
    let tests = include_str!("matrix.rs");
    for page in &PAGES {
        let test = format!("#[actix_rt::test]\nasync fn {}()", page.test);
        assert!(tests.contains(&test), "{} of {}", page.test, page.name);
        for (at, (errno, _)) in page.rows.iter().enumerate() {
            assert!(errno.parse::<Errno>().is_ok(), "{errno} has no name");
            let before = &page.rows[..at];
            assert!(before.iter().all(|(other, _)| other != errno), "{errno}");
        }
    }
}
