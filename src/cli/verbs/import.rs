//! Reading a key that is handed in: from standard input or a file descriptor, never from the command line, wiped afterwards.

use std::fs::File;
use std::io::{IsTerminal as _, Read};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use crate::cli::args::verbs::ImportArgs;
use crate::secret::SecretText;
use crate::status_report::verbs::{Material, VerbRequest};

/// More than this is no key.
const LONGEST: u64 = 32 * 1024;

/// The request with the key in it.
///
/// # Errors
/// If the key cannot be read.
pub fn asked(args: &ImportArgs) -> anyhow::Result<VerbRequest> {
    let stdin = std::io::stdin();
    let material = if let Some(number) = args.fd {
        of_descriptor(number, "the key")?
    } else if stdin.is_terminal() {
        bail!("the key is read from standard input, and that is a terminal; hint: `keyrota import … < FILE`, or --fd N");
    } else {
        read(stdin.lock(), "the key")?
    };
    let passphrase = args.passphrase_fd.map(|number| of_descriptor(number, "the passphrase")).transpose()?;
    Ok(args.asked(material, passphrase))
}

fn of_descriptor(number: u16, what: &str) -> anyhow::Result<Material> {
    let path = format!("/dev/fd/{number}");
    let file = File::open(&path).with_context(|| format!("cannot read {what} from file descriptor {number}; hint: `{number}< FILE`"))?;
    read(file, what)
}

fn read(from: impl Read, what: &str) -> anyhow::Result<Material> {
    // Room for all of it, so that no half-read copy is left behind by a growing buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or(0) + 1));
    from.take(LONGEST + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {what}"))?;
    if bytes.len() as u64 > LONGEST {
        bail!("{what} has more than {LONGEST} bytes; hint: is it another file?");
    }
    let text = std::str::from_utf8(&bytes)
        .with_context(|| format!("{what} is no text; hint: DER is converted with `openssl pkey -inform DER`"))?;
    Ok(Material(SecretText::new(text.to_owned())))
}
