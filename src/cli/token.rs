//! `keyrota token`: mints through the daemon, verifies through it or against a key set from elsewhere, and shows what a token says.

mod text;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use super::args::Output;
use super::args::token::{InspectArgs, MintArgs, TokenCommand, VerifyArgs};
use super::client::{Answer, Client, ClientError};
use super::exit::Exit;
use super::style::Look;
use super::{print, say, status, verbs};
use crate::clock::Reading;
use crate::https::{Ask, Fetch as _, HttpsClient, Request};
use crate::secret::{SecretBytes, SecretText};
use crate::status_report::tokens::{MintAsked, MintTold, VerifyAsked, VerifyReport};
use crate::status_report::verbs::Material;
use crate::time::Span;
use crate::tokens::compact::{Compact, LONGEST_TOKEN};
use crate::tokens::key_set::{self, KeySet};
use crate::tokens::second_opinion;
use crate::tokens::verify::{Expected, Verifier};
use crate::url::{Scheme, Trust, Url};

/// By how much clocks may differ where no policy says so.
const USUAL_SKEW: Span = Span::seconds(60);

/// How long a key set may take to come.
const FETCH_WITHIN: Span = Span::seconds(10);

/// Does what is asked.
///
/// # Errors
/// If the daemon cannot be asked or refuses, or a file cannot be read. A token that is not accepted is no error but an exit status.
pub fn token(command: &TokenCommand) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::Mint(args) => mint(args),
        TokenCommand::Verify(args) => verify(args),
        TokenCommand::Inspect(args) => inspect(args),
        TokenCommand::Revoke(args) => verbs::ask(&args.asked(Reading::now().wall), &args.flags),
    }
}

fn mint(args: &MintArgs) -> anyhow::Result<Exit> {
    let asked = MintAsked { sub: args.sub.clone(), ttl: args.ttl, claims: claims(args)? };
    let path = format!("/v1/keysets/{}/{}/token", args.keyset.environment, args.keyset.keyset);
    let mut answer = ask(&args.daemon.client(), &args.daemon.signers(), &path, &serde_json::to_vec(&asked)?)?;
    status::accepted(&answer)?;
    let body = SecretBytes::new(std::mem::take(&mut answer.body));
    let told: MintTold = serde_json::from_slice(body.expose()).context("the daemon's answer cannot be read")?;
    if args.output.output == Output::Json {
        return print(&[body.expose(), b"\n"].concat(), Exit::Done);
    }
    let front = if args.header { told.header.as_str() } else { "" };
    let line = SecretText::new([front, told.token.0.expose(), "\n"].concat());
    print(line.expose().as_bytes(), Exit::Done)
}

/// Asks the control socket, or, if that is not for whoever asks, the signer socket.
fn ask(control: &Client, signers: &Client, path: &str, body: &[u8]) -> Result<Answer, ClientError> {
    match control.post_json(path, body.to_vec()) {
        Err(ClientError::Forbidden(_)) | Ok(Answer { status: 403, .. }) => signers.post_json(path, body.to_vec()),
        answer => answer,
    }
}

fn claims(args: &MintArgs) -> anyhow::Result<Map<String, Value>> {
    let mut claims = match &args.claims_file {
        None => Map::new(),
        Some(file) => {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            match serde_json::from_slice(&text) {
                Ok(Value::Object(claims)) => claims,
                Ok(_) => bail!("{} is no JSON object; hint: write {{\"name\": value}}", file.display()),
                Err(error) => bail!("{} is no JSON: {error}; hint: write {{\"name\": value}}", file.display()),
            }
        }
    };
    for claim in &args.claims {
        if claims.insert(claim.name.clone(), claim.value.clone()).is_some() {
            bail!("claim `{}` is stated twice; hint: state it once", claim.name);
        }
    }
    Ok(claims)
}

fn verify(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let token = read(&args.token)?;
    let (report, unusable) = if let Some(id) = &args.keyset {
        let path = format!("/v1/keysets/{}/{}/verify", id.environment, id.keyset);
        let asked = SecretBytes::new(serde_json::to_vec(&VerifyAsked { token: Material(token) })?);
        let answer = ask(&args.daemon.client(), &args.daemon.signers(), &path, asked.expose())?;
        status::accepted(&answer)?;
        (serde_json::from_slice(&answer.body).context("the daemon's answer cannot be read")?, Vec::new())
    } else {
        let KeySet { keys, unusable } = key_set(args)?;
        let audience = (!args.audience.is_empty()).then(|| args.audience.clone());
        let expected = Expected { profile: None, issuer: args.issuer.clone(), audience };
        let verifier = Verifier::of_key_set(keys, expected, USUAL_SKEW);
        let now = Reading::now().wall;
        let verdict = verifier.verify(token.expose(), now);
        (VerifyReport::of(&verdict, second_opinion::of(&verifier, token.expose()), now), unusable)
    };
    let exit = if report.valid { Exit::Done } else { Exit::Error };
    match args.output.output {
        Output::Table => say(&text::report(&report, &unusable, &Look::of_stdout()), exit),
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&report)?), exit),
    }
}

fn key_set(args: &VerifyArgs) -> anyhow::Result<KeySet> {
    if let Some(file) = &args.jwks {
        let body = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        return key_set::read(&body).with_context(|| file.display().to_string());
    }
    let url = args.jwks_url.as_ref().context("no key set is named; hint: --jwks FILE or --jwks-url URL")?;
    let body = fetched(url, args.ca_file.as_deref())?;
    key_set::read(&body).with_context(|| url.to_string())
}

fn fetched(url: &Url, ca_file: Option<&Path>) -> anyhow::Result<bytes::Bytes> {
    if url.scheme() == Scheme::Http && !url.is_loopback() {
        bail!("{url} is plain http: whoever is in between can answer instead; hint: use https, or fetch it yourself and say --jwks FILE");
    }
    let trust = ca_file.map_or(Trust::System, |path| Trust::File(path.to_owned()));
    let request = Request { url, trust: &trust, ask: Ask::Get, headers: Vec::new(), within: FETCH_WITHIN, at_most: key_set::LONGEST_SET };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let answer = runtime.block_on(HttpsClient::default().fetch(request)).with_context(|| url.to_string())?;
    if answer.status != 200 {
        bail!("{url}: it answers with status {}; hint: is that where the key set is?", answer.status);
    }
    Ok(answer.body)
}

fn inspect(args: &InspectArgs) -> anyhow::Result<Exit> {
    let token = read(&args.token)?;
    let compact = match Compact::parse(token.expose()) {
        Ok(compact) => compact,
        Err(malformed) => bail!("{malformed}"),
    };
    let header = json!({ "alg": compact.header.alg, "typ": compact.header.typ, "kid": compact.header.kid });
    let shown = json!({ "verified": false, "header": header, "claims": compact.claims });
    match args.output.output {
        Output::Table => say(&text::inspected(&header, &compact.claims, Reading::now().wall), Exit::Done),
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&shown)?), Exit::Done),
    }
}

/// The token, from standard input if it is `-`. What stands around it there (a line's end, `Authorization: Bearer`) is left away.
fn read(argument: &str) -> anyhow::Result<SecretText> {
    if argument != "-" {
        return Ok(SecretText::new(argument.to_owned()));
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        bail!("the token is read from standard input, and that is a terminal; hint: `keyrota token … - < FILE`");
    }
    let limit = LONGEST_TOKEN + 1024;
    // Room for all of it, so that no half-read copy is left behind by a growing buffer.
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(limit + 1));
    stdin.lock().take(limit as u64 + 1).read_to_end(&mut bytes).context("cannot read the token")?;
    let text = std::str::from_utf8(&bytes).context("the token is no text")?;
    let bare = text.trim();
    Ok(SecretText::new(bare.rsplit_once(' ').map_or(bare, |(_, token)| token).to_owned()))
}
