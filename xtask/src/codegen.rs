//! `proto/hanse/*.proto` to `proto/src/gen/*.rs`, without a protobuf compiler.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Generates into the checkout, and removes what no longer has a source.
pub(crate) fn write(root: &Path) -> Result<()> {
    let checked_in = checked_in(root);
    let generated = generate(root, &scratch(root))?;
    fs::create_dir_all(&checked_in)?;
    for name in contents(&checked_in)?
        .keys()
        .filter(|name| !generated.contains_key(*name))
    {
        fs::remove_file(checked_in.join(name))?;
    }
    for (name, text) in &generated {
        fs::write(checked_in.join(name), text)?;
    }
    println!("{} files in {}", generated.len(), checked_in.display());
    Ok(())
}

/// Names of checked-in files that are not what would be generated now.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>> {
    let generated = generate(root, &scratch(root))?;
    let present = contents(&checked_in(root))?;
    let names = generated
        .keys()
        .chain(present.keys().filter(|name| !generated.contains_key(*name)));
    let stale = names.filter(|name| generated.get(*name) != present.get(*name));
    Ok(stale.cloned().collect())
}

fn checked_in(root: &Path) -> PathBuf {
    root.join("proto/src/gen")
}

fn scratch(root: &Path) -> PathBuf {
    crate::setup::test_env(root).join("codegen")
}

/// File names and texts; services become traits and clients without a transport of their own.
fn generate(root: &Path, out: &Path) -> Result<BTreeMap<String, String>> {
    let _ = fs::remove_dir_all(out);
    fs::create_dir_all(out)?;
    let proto = root.join("proto");
    let sources = sources(&proto)?;
    let described = protox::compile(&sources, [&proto]).context("compiling the .proto files")?;
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(described)?;
    contents(out)
}

/// The sources in the order of their names, so that the result does not depend on the directory's.
fn sources(proto: &Path) -> Result<Vec<PathBuf>> {
    let folder = proto.join("hanse");
    let mut sources = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

fn contents(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut contents = BTreeMap::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            contents.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn generating_twice_gives_the_same_and_finds_what_differs() {
        let dir = TempDir::new().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("proto/hanse")).unwrap();
        let source = "syntax = \"proto3\"; package hanse.a.v1; message A { string b = 1; }";
        fs::write(root.join("proto/hanse/a.proto"), source).unwrap();
        assert_eq!(stale(root).unwrap(), ["hanse.a.v1.rs"]);

        write(root).unwrap();
        assert!(stale(root).unwrap().is_empty());
        fs::write(checked_in(root).join("hanse.a.v1.rs"), "// by hand").unwrap();
        fs::write(checked_in(root).join("gone.rs"), "").unwrap();
        assert_eq!(stale(root).unwrap(), ["hanse.a.v1.rs", "gone.rs"]);
        write(root).unwrap();
        assert!(stale(root).unwrap().is_empty());
    }
}
