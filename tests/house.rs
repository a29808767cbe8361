//! The house rules that the compiler does not know: who may import whom, who may speak to PostgreSQL, how long a file may
//! be. Reads the source; needs no server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// Lines of a file without its tests, above which it is to be split.
const LONGEST_FILE_LINES: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A file of the library: its module path (`outbox::claim`), and its code without comments and tests.
struct File {
    module: Vec<String>,
    path: PathBuf,
    code: String,
    lines: usize,
}

impl File {
    fn name(&self) -> String {
        self.path.strip_prefix(source()).unwrap().display().to_string()
    }
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
                files.push(read(path));
            }
        }
    }
    assert!(files.len() > 50, "where is the source?");
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn read(path: PathBuf) -> File {
    let text = std::fs::read_to_string(&path).unwrap();
    let tested: Vec<&str> = text.lines().take_while(|line| line.trim_end() != "#[cfg(test)]").collect();
    let code: Vec<&str> = tested.iter().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut module: Vec<String> = path
        .strip_prefix(source())
        .unwrap()
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
        module.pop();
    }
    File { module, lines: tested.len(), code: code.join("\n"), path }
}

/// Every path that the file names from `crate`, `super`, `self` or a child module, without the braces of `use`, as a path
/// from the crate's root. `pub use` is a signboard and no import: it is left out, and returned as (name, path).
fn paths(file: &File, modules: &BTreeSet<Vec<String>>) -> (Vec<Vec<String>>, BTreeMap<String, Vec<String>>) {
    let is_folder = file.path.ends_with("mod.rs") || file.path.ends_with("lib.rs");
    let signboard = Regex::new(r"(?s)\bpub(?:\([a-z]+\))? use (.*?);").unwrap();
    let signs: Vec<Vec<String>> = signboard
        .captures_iter(&file.code)
        .flat_map(|found| expand(&found[1]))
        .filter_map(|path| absolute(file, &path, modules))
        .collect();
    let signs = signs.into_iter().map(|path| (path.last().unwrap().clone(), path)).collect();
    let mut code = signboard.replace_all(&file.code, "").into_owned();
    let imports = Regex::new(r"(?s)\buse (.*?);").unwrap();
    let mut found: Vec<String> = imports.captures_iter(&code).flat_map(|found| expand(&found[1])).collect();
    code = imports.replace_all(&code, "").into_owned();
    let inline = Regex::new(r"\b[a-z_]+(?:::[A-Za-z_]+)+").unwrap();
    found.extend(
        inline
            .find_iter(&code)
            .map(|found| found.as_str().to_owned())
            .filter(|path| is_folder || ["crate::", "super::", "self::"].iter().any(|start| path.starts_with(start))),
    );
    (found.iter().filter_map(|path| absolute(file, path, modules)).collect(), signs)
}

/// `a::{b, c::{d, e as f}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expand(text: &str) -> Vec<String> {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(open) = text.find('{') else {
        return vec![text.split(" as ").next().unwrap().trim().to_owned()];
    };
    let close = text.rfind('}').unwrap();
    let (before, inside) = (&text[..open], &text[open + 1..close]);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts
        .flat_map(|part| expand(&format!("{before}{part}")))
        .map(|path| path.trim_end_matches("::self").to_owned())
        .collect()
}

/// A path from the crate's root; none for a path into another crate.
fn absolute(file: &File, path: &str, modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut words: Vec<String> = path.split("::").map(str::to_owned).collect();
    let mut base = match words.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => file.module.clone(),
        child => {
            let mut with_child = file.module.clone();
            with_child.push(child.to_owned());
            if !modules.contains(&with_child) {
                return None;
            }
            words.insert(0, "self".to_owned());
            file.module.clone()
        }
    };
    while words.first().is_some_and(|word| ["crate", "self", "super"].contains(&word.as_str())) {
        if words.remove(0) == "super" {
            base.pop();
        }
    }
    base.extend(words);
    Some(base)
}

/// Which files each file imports, signboards followed to where the thing stands.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = files();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|file| file.module.clone()).collect();
    let by_module: BTreeMap<&[String], &File> = files
        .iter()
        .filter(|file| !file.path.ends_with("main.rs"))
        .map(|file| (file.module.as_slice(), file))
        .collect();
    let read: Vec<_> = files.iter().map(|file| (file, paths(file, &modules))).collect();
    let signs: BTreeMap<&[String], &BTreeMap<String, Vec<String>>> = read
        .iter()
        .filter(|(file, _)| !file.path.ends_with("main.rs"))
        .map(|(file, (_, signs))| (file.module.as_slice(), signs))
        .collect();
    let stands_in = |path: &[String]| -> Option<String> {
        let mut path = path.to_vec();
        // A signboard may point to another one.
        for _ in 0..4 {
            let depth = (0..=path.len()).rev().find(|depth| by_module.contains_key(&path[..*depth]))?;
            let module = &path[..depth];
            match path.get(depth).and_then(|item| signs.get(module)?.get(item)) {
                Some(elsewhere) => {
                    let rest = path[depth + 1..].to_vec();
                    path = [elsewhere.clone(), rest].concat();
                }
                None => return (depth > 0).then(|| by_module[module].name()),
            }
        }
        None
    };
    read.iter()
        .map(|(file, (paths, _))| {
            let targets =
                paths.iter().filter_map(|path| stands_in(path)).filter(|target| *target != file.name()).collect();
            (file.name(), targets)
        })
        .collect()
}

/// The first folder of a file, or its own name: `outbox/claim.rs` and `outbox/mod.rs` are `outbox`.
fn house(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The order as `src/lib.rs` draws it.
fn levels() -> Vec<Vec<String>> {
    let lib = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let drawn =
        lib.lines().find(|line| line.starts_with("//! ") && line.contains(" -> ")).expect("lib.rs draws the order");
    let levels = drawn.trim_start_matches("//! ").split(" -> ");
    levels.map(|level| level.split(", ").map(|name| name.trim().to_owned()).collect()).collect()
}

#[test]
fn dependencies_run_one_way_as_the_map_of_the_house_draws_them() {
    let levels = levels();
    assert!(levels.len() >= 5 && levels.last().unwrap().first().is_some_and(|name| name == "message"), "{levels:?}");
    let level = |name: &str| levels.iter().position(|level| level.iter().any(|known| known == name));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (file, targets) in imports() {
        if ["lib.rs", "main.rs"].contains(&file.as_str()) {
            continue;
        }
        let from = level(house(&file))
            .unwrap_or_else(|| panic!("{file}: its folder is missing in the order that src/lib.rs draws"));
        for target in targets {
            let to = level(house(&target))
                .unwrap_or_else(|| panic!("{target}: its folder is missing in the order that src/lib.rs draws"));
            seen += 1;
            if to < from || (house(&target) == "daemon" && !["cli", "demo", "daemon"].contains(&house(&file))) {
                wrong.push(format!("{file} imports {target}"));
            }
        }
    }
    assert!(seen > 150, "only {seen} imports were seen: are they read at all?");
    assert!(wrong.is_empty(), "against the order in src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn message_imports_nothing_of_ours() {
    for (file, targets) in imports() {
        let others: Vec<_> = targets.iter().filter(|target| house(target) != "message").collect();
        assert!(house(&file) != "message" || others.is_empty(), "{file} imports {others:?}");
    }
}

#[test]
fn no_two_files_and_no_two_folders_import_each_other() {
    let imports = imports();
    let mut wrong = Vec::new();
    for (file, targets) in &imports {
        for target in targets.iter().filter(|target| *target > file) {
            if imports.get(target).is_some_and(|back| back.contains(file)) {
                wrong.push(format!("{file} and {target}"));
            }
        }
    }
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, targets) in &imports {
        folders.entry(house(file)).or_default().extend(targets.iter().map(|target| house(target)));
    }
    for (folder, targets) in &folders {
        for target in targets.iter().filter(|target| *target > folder) {
            if folders.get(target).is_some_and(|back| back.contains(folder)) {
                wrong.push(format!("{folder}/ and {target}/"));
            }
        }
    }
    assert!(wrong.is_empty(), "these import each other:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_folder_db_speaks_to_postgresql() {
    for file in files().iter().filter(|file| house(&file.name()) != "db") {
        for name in ["tokio_postgres", "deadpool_postgres"] {
            assert!(!file.code.contains(name), "{} uses {name}", file.name());
        }
    }
}

#[test]
fn only_the_configuration_reads_the_environment_and_only_the_command_line_prints() {
    let prints = Regex::new(r"\be?print(ln)?!").unwrap();
    for file in files() {
        let name = file.name();
        // The demo and the tests look for PostgreSQL's programs in the PATH, and at the terminal.
        let may = ["config", "demo"].contains(&house(&name));
        assert!(may || !file.code.contains("env::var"), "{name} reads the environment");
        assert!(!prints.is_match(&file.code), "{name} prints by itself");
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<String> = files()
        .iter()
        .filter(|file| file.lines > LONGEST_FILE_LINES)
        .map(|file| format!("{}: {} lines", file.name(), file.lines))
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

#[test]
fn the_reader_of_imports_reads_imports() {
    assert_eq!(expand("a::{self, b, c::{d, e as f}}"), ["a", "a::b", "a::c::d", "a::c::e"]);
    let imports = imports();
    // Through a signboard (`pub use connect::Target` in db/mod.rs), through `super`, and inline.
    assert!(imports["daemon/mod.rs"].contains("db/connect.rs"));
    assert!(imports["outbox/rescue.rs"].contains("outbox/ledger.rs"));
    assert!(imports["cli/doctor/database.rs"].contains("db/install.rs"));
    assert!(!imports["message/kind.rs"].contains("message/phone/mod.rs"));
}
