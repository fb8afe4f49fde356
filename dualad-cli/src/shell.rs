//! `dualad completions` and `dualad man`.

use std::path::PathBuf;

use clap_complete::Shell;

use crate::common::{Result, print};

/// Print a script that completes commands and flags in a shell
///
/// For bash: dualad completions bash > ~/.local/share/bash-completion/completions/dualad
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page, or write one for each command into a folder
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Folder for dualad.1, dualad-train.1 and so on [default: none, dualad.1 is printed]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs `dualad completions`.
pub(crate) fn completions(args: &CompletionsArgs, mut program: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "dualad", &mut script);
    print(&String::from_utf8(script)?)
}

/// Runs `dualad man`.
pub(crate) fn man(args: &ManArgs, program: clap::Command) -> Result<()> {
    if let Some(folder) = &args.folder {
        let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program, folder));
        return written.map_err(|error| format!("cannot write to {}: {error}", folder.display()).into());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(program).render(&mut page)?;
    print(&String::from_utf8(page)?)
}
