//! `cargo xtask fuzz`: feeds what reads other servers' bytes with bytes that nobody thought of.
//!
//! The targets are built by the ordinary stable compiler: counting which code an input reaches is a pass of
//! LLVM's, libFuzzer is a library, and there is no unsafe code for a sanitizer to watch. (`cargo fuzz` builds them
//! in the same way; it is not needed.)

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, command, output, root, run};

/// Where there are fuzz targets, each a workspace of its own.
const FOLDERS: [&str; 2] = ["crate/rooms/fuzz", "crate/p2p/fuzz"];
/// The longest input, in bytes: beyond the greatest event.
const MAX_INPUT: u32 = 70_000;
/// How large the seeds of a target may become by what is kept, in bytes, and how many are kept at once.
const MAX_SEEDS: u64 = 150_000;
const MAX_KEPT: usize = 100;
/// What has the compiler note which code is reached, as libFuzzer expects it.
/// LLVM, "SanitizerCoverage"; the same as `cargo fuzz` 0.13 asks for.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// One fuzz target.
struct Target {
    folder: PathBuf,
    name: String,
}

/// Runs the fuzz target `name`, or each in turn, for `seconds`. What is found lies in the target's `artifacts`.
/// With `keep`, inputs that reach what the seeds do not become seeds: those that reach most.
pub fn start(name: Option<&str>, seconds: u32, keep: bool) -> Result<()> {
    let mut targets = targets()?;
    let names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
    targets.retain(|target| name.is_none_or(|name| name == target.name));
    if targets.is_empty() {
        bail!("there are only these targets: {}", names.join(", "));
    }
    let host = host()?;
    for target in targets {
        let program = target.build(&host)?;
        target.run(&program, seconds)?;
        if keep {
            target.keep(&program)?;
        }
    }
    Ok(())
}

/// The targets: the names of the files in `fuzz_targets`.
fn targets() -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for folder in FOLDERS.map(|folder| root().join(folder)) {
        let files = fs::read_dir(folder.join("fuzz_targets")).context("there are no fuzz targets")?;
        let mut names: Vec<_> = files
            .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        targets.extend(names.into_iter().map(|name| Target {
            folder: folder.clone(),
            name,
        }));
    }
    Ok(targets)
}

/// The name of this machine's kind. Named to cargo, it keeps build scripts from being counted too.
fn host() -> Result<String> {
    let version = output(command("rustc").arg("-vV")).context("there is no rustc")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it builds for")?.to_owned())
}

impl Target {
    fn build(&self, host: &str) -> Result<PathBuf> {
        run(cargo()
            .current_dir(&self.folder)
            .env("RUSTFLAGS", COVERAGE)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .args(["build", "--release", "--target", host, "--bin", &self.name]))?;
        let built = self.folder.join("target").join(host).join("release");
        Ok(built.join(&self.name))
    }

    fn seeds(&self) -> PathBuf {
        self.folder.join("seeds").join(&self.name)
    }

    /// New inputs go to `corpus`, which is nobody's; the seeds are only read.
    fn run(&self, program: &Path, seconds: u32) -> Result<()> {
        let corpus = self.folder.join("corpus").join(&self.name);
        let artifacts = self.folder.join("artifacts").join(&self.name);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        run(command(program).arg(corpus).arg(self.seeds()).args([
            format!("-artifact_prefix={}/", artifacts.display()),
            format!("-max_total_time={seconds}"),
            format!("-max_len={MAX_INPUT}"),
            "-timeout=10".to_owned(),
            "-rss_limit_mb=1024".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]))
    }

    /// Makes seeds of those inputs of the corpus that reach something new, as far as there is room.
    fn keep(&self, program: &Path) -> Result<()> {
        let merged = self.folder.join("corpus").join(format!("{}.merged", self.name));
        let corpus = self.folder.join("corpus").join(&self.name);
        if merged.exists() {
            fs::remove_dir_all(&merged)?;
        }
        fs::create_dir_all(&merged)?;
        for seed in files(&self.seeds())? {
            fs::copy(&seed.path, merged.join(&seed.name))?;
        }
        run(command(program)
            .arg("-set_cover_merge=1")
            .arg(&merged)
            .arg(corpus))?;
        let seeds = files(&self.seeds())?;
        let mut room = MAX_SEEDS.saturating_sub(seeds.iter().map(|seed| seed.size).sum());
        let new = files(&merged)?.into_iter();
        let new = new.filter(|file| seeds.iter().all(|seed| seed.name != file.name));
        for file in new.take(MAX_KEPT) {
            if let Some(left) = room.checked_sub(file.size) {
                room = left;
                fs::copy(&file.path, self.seeds().join(&file.name))?;
            }
        }
        Ok(())
    }
}

/// A file of a folder.
struct File {
    path: PathBuf,
    name: String,
    size: u64,
    written: SystemTime,
}

/// The files of a folder in the order in which they were written. libFuzzer writes first what reaches most.
fn files(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        files.push(File {
            path: file.path(),
            name: file.file_name().to_string_lossy().into_owned(),
            size: file.metadata()?.len(),
            written: file.metadata()?.modified()?,
        });
    }
    files.sort_by(|a, b| (a.written, &a.name).cmp(&(b.written, &b.name)));
    Ok(files)
}
