//! `keyrota export`: the active key in the form that a consumer takes, or the public half of another. Secrets come from the signer socket, whose own rules say who may
//! have them; what is public comes from the status.

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};

use super::args::verbs::{ExportArgs, ExportFormat};
use super::exit::Exit;
use super::{print, status};
use crate::document::Document;
use crate::key::{Key, KeyClass};
use crate::keygen::import::PrivateJwk;
use crate::name::KeysetId;
use crate::policy::{Audience, FileTarget, TargetFormat};
use crate::publish::render;
use crate::secret::SecretBytes;

/// Prints the key.
///
/// # Errors
/// If there is none, it cannot be had, or the form does not suit it.
pub fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    if !args.public && std::io::stdout().is_terminal() && !args.yes {
        bail!("this would show a secret on the screen; hint: write it into a file (umask 077), or --public, or --yes");
    }
    let document = if args.public { of_status(args)? } else { of_signer_socket(args)? };
    let id = &args.keyset;
    let key = if let Some(kid) = &args.kid {
        let key = document.live().map(|live| live.key).find(|key| key.kid == *kid);
        key.with_context(|| format!("{id} has no living key {kid}; hint: `keyrota status {id}` lists them"))?
    } else {
        let active = document.active.as_ref().map(|active| &active.key);
        active.with_context(|| format!("{id} has no active key; hint: `keyrota status {id}` says what it waits for"))?
    };
    let text = if args.public { public(args, &document, key)? } else { private(args, &document, key)? };
    print(text.expose(), Exit::Done)
}

fn of_status(args: &ExportArgs) -> anyhow::Result<Document> {
    let id = &args.keyset;
    let answer = args.daemon.client().get(&format!("/v1/status?environment={}&keyset={}", id.environment, id.keyset))?;
    let report = status::parse(&answer)?;
    let keyset = status::find(&report, id).with_context(|| unknown(id))?;
    keyset.document()?.with_context(|| format!("{id} has no key yet; hint: `keyrota status {id}` says what it waits for"))
}

fn of_signer_socket(args: &ExportArgs) -> anyhow::Result<Document> {
    let id = &args.keyset;
    let mut answer = args.daemon.signers().get(&format!("/v1/keysets/{}/{}", id.environment, id.keyset))?;
    status::accepted(&answer)?;
    let bytes = SecretBytes::new(std::mem::take(&mut answer.body));
    Ok(Document::from_stored(bytes.expose())?)
}

fn unknown(id: &KeysetId) -> String {
    format!("there is no keyset {id}; hint: `keyrota status` lists them")
}

fn public(args: &ExportArgs, document: &Document, key: &Key) -> anyhow::Result<SecretBytes> {
    let id = &args.keyset;
    let Some(jwk) = key.public_jwk() else {
        bail!("{id} has no public half: its keys are secrets; hint: without --public the secret itself is exported");
    };
    let text = match args.format {
        ExportFormat::Pem => jwk.numbers.to_spki_pem()?,
        ExportFormat::Jwk => format!("{}\n", serde_json::to_string_pretty(jwk)?),
        ExportFormat::Document => format!("{}\n", serde_json::to_string_pretty(&document.jwks())?),
        ExportFormat::Env => {
            let pem = jwk.numbers.to_spki_pem()?.replace('\n', "\\n");
            let name = args.key_name.as_deref().unwrap_or("KEYROTA_PUBLIC_KEY");
            format!("{}={}\nKEYROTA_ALGORITHM={}\n{name}=\"{pem}\"\n", args.kid_name, jwk.kid, jwk.alg)
        }
    };
    Ok(SecretBytes::new(text.into_bytes()))
}

fn private(args: &ExportArgs, document: &Document, active: &Key) -> anyhow::Result<SecretBytes> {
    match args.format {
        ExportFormat::Document => Ok(document.to_stored()),
        ExportFormat::Jwk => {
            let jwk = PrivateJwk::write(active)?;
            Ok(SecretBytes::new([jwk.expose().as_bytes(), b"\n"].concat()))
        }
        ExportFormat::Pem => match (active.secret(), active.public_jwk()) {
            (Some(private), Some(public)) => {
                Ok(SecretBytes::new([private.expose().as_bytes(), public.numbers.to_spki_pem()?.as_bytes()].concat()))
            }
            _ => bail!("{} is no key pair, so there is no PEM of it; hint: --format env or document", args.keyset),
        },
        ExportFormat::Env => env(args, document, active.class()),
    }
}

/// As the `env` target writes it, with the names that the consumer reads.
fn env(args: &ExportArgs, document: &Document, class: KeyClass) -> anyhow::Result<SecretBytes> {
    let target =
        FileTarget { path: "/".into(), format: TargetFormat::Env, audience: Audience::Signers, mode: 0o600, group: None, replace: false };
    let usual = if class == KeyClass::Asymmetric { "KEYROTA_PRIVATE_KEY" } else { "KEYROTA_SECRET" };
    let names = [("KEYROTA_KID", args.kid_name.as_str()), (usual, args.key_name.as_deref().unwrap_or(usual))];
    let rendered = render(&target, document)?;
    let content = rendered.parts.into_iter().find_map(|part| part.content).context("there is no active key")?;
    let mut out = Vec::with_capacity(content.expose().len() + 256);
    for line in content.expose().split_inclusive(|byte| *byte == b'\n') {
        let renamed = names.iter().find_map(|(from, to)| Some((to, line.strip_prefix(from.as_bytes())?.strip_prefix(b"=")?)));
        match renamed {
            Some((name, value)) => out.extend([name.as_bytes(), b"=", value].concat()),
            None => out.extend(line),
        }
    }
    Ok(SecretBytes::new(out))
}
