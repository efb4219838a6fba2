//! `selvedge certs`: the mesh's private CA, on the command line.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use selvedge_bench::Table;
use selvedge_certs::{
    Authority, CA_CERTIFICATE_FILE, CertSummary, Overwrite, Role, SubjectNames, Uuid, WorldName, describe,
    server_name,
};

use crate::out;

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make the CA of a world
    #[command(after_help = "Examples:
  selvedge certs init --world aerie
  selvedge certs init --world aerie --dir /etc/selvedge/ca --valid 730d")]
    Init(InitArgs),
    /// Issue the identity of one process
    #[command(after_help = "Examples:
  selvedge certs issue coordinator --name main
  selvedge certs issue server --name door --ip 203.0.113.5
  selvedge certs issue node --stem node-1
  selvedge certs issue node --id 8a6e0804-2bd0-4672-b79d-d97027f9071a --valid 30d --out node-1/

A process needs <stem>.pem, <stem>.key and ca.pem. The CA's own key, ca.key, stays where it is.")]
    Issue(IssueArgs),
    /// Say whose a certificate is, and until when it holds
    #[command(after_help = "Examples:
  selvedge certs show certs/ca.pem certs/node-1.pem
  selvedge certs show --json certs/node-1.pem")]
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Name of the world: a-z, 0-9 and '-'
    #[arg(long, value_name = "NAME")]
    world: WorldName,
    /// Folder of the CA; made with mode 0700
    #[arg(long, default_value = "certs", value_name = "DIR")]
    dir: PathBuf,
    /// How long the CA is valid
    #[arg(long, default_value = "3650d", value_parser = humantime::parse_duration, value_name = "DURATION")]
    valid: Duration,
    /// Replace a CA that is there: every identity of it becomes worthless
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// A game-server process
    Node,
    /// The process that assigns cells
    Coordinator,
    /// What players connect to: the coordinator's door, a node's client port
    Server,
}

#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// What the process is
    #[arg(value_enum)]
    role: RoleArg,
    /// Name of a coordinator or a server: a-z, 0-9 and '-' [default for a coordinator: main]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Id of a node [default: a new one]
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// Folder of the CA
    #[arg(long, default_value = "certs", value_name = "DIR")]
    dir: PathBuf,
    /// Folder for the new files [default: the CA's]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the new files without their ending [default: ROLE-NAME or ROLE-ID]
    #[arg(long, value_name = "NAME")]
    stem: Option<String>,
    /// Further DNS name that the certificate is valid for; may be given again
    #[arg(long = "dns", value_name = "NAME")]
    dns: Vec<String>,
    /// Further address that the certificate is valid for; may be given again
    #[arg(long = "ip", value_name = "IP")]
    ips: Vec<IpAddr>,
    /// How long it is valid
    #[arg(long, default_value = "90d", value_parser = humantime::parse_duration, value_name = "DURATION")]
    valid: Duration,
    /// Replace files that are there
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Certificates (PEM)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: CertsCommand) -> anyhow::Result<()> {
    match command {
        CertsCommand::Init(args) => init(args),
        CertsCommand::Issue(args) => issue(args),
        CertsCommand::Show(args) => show(&args),
    }
}

const fn overwrite(replace: bool) -> Overwrite {
    if replace { Overwrite::Replace } else { Overwrite::Refuse }
}

fn init(args: InitArgs) -> anyhow::Result<()> {
    let authority = Authority::init(args.world, args.valid)?;
    authority.save(&args.dir, overwrite(args.replace)).map_err(|error| advise_replace(error.into()))?;
    let until = humantime::format_rfc3339_seconds(authority.not_after());
    out::print(&format!(
        "CA of the world {} in {}, valid until {until}",
        authority.world(),
        args.dir.display()
    ));
    out::print("keep ca.key secret and on this machine; hand out ca.pem to every process and every client");
    Ok(())
}

fn issue(args: IssueArgs) -> anyhow::Result<()> {
    let role = role(args.role, args.name, args.id)?;
    let stem = args.stem.unwrap_or_else(|| default_stem(&role));
    let authority = Authority::load(&args.dir)?;
    let names = SubjectNames { dns: args.dns, ips: args.ips };
    let issued = authority.issue(role, &names, args.valid)?;
    let out_dir = args.out.as_deref().unwrap_or(&args.dir);
    let (chain, key) =
        issued.save(out_dir, &stem, overwrite(args.replace)).map_err(|error| advise_replace(error.into()))?;
    let ca = hand_out_ca(&authority, &args.dir, out_dir)?;
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("identity", issued.id.to_string());
    row("server name", server_name(&issued.id));
    row("valid until", humantime::format_rfc3339_seconds(issued.not_after).to_string());
    row("certificate", chain.display().to_string());
    row("private key", key.display().to_string());
    row("CA", ca.display().to_string());
    out::print(table.to_string().trim_end());
    Ok(())
}

fn role(kind: RoleArg, name: Option<String>, id: Option<Uuid>) -> anyhow::Result<Role> {
    match (kind, name, id) {
        (RoleArg::Node, None, id) => Ok(Role::Node(id.unwrap_or_else(Uuid::new_v4))),
        (RoleArg::Node, Some(_), _) => {
            bail!("a node has an id, not a name: give --id, or neither for a new id")
        }
        (RoleArg::Coordinator | RoleArg::Server, _, Some(_)) => bail!("only a node has an id: give --name"),
        (RoleArg::Coordinator, name, None) => {
            Ok(Role::Coordinator(name.unwrap_or_else(|| "main".to_owned())))
        }
        (RoleArg::Server, Some(name), None) => Ok(Role::Server(name)),
        (RoleArg::Server, None, None) => bail!("a server needs a name: give --name, such as --name door"),
    }
}

fn default_stem(role: &Role) -> String {
    match role {
        Role::Node(id) => format!("node-{id}"),
        Role::Coordinator(name) => format!("coordinator-{name}"),
        Role::Server(name) => format!("server-{name}"),
    }
}

/// Puts the CA's certificate beside an identity that goes elsewhere.
fn hand_out_ca(authority: &Authority, ca_dir: &Path, out_dir: &Path) -> anyhow::Result<PathBuf> {
    let path = out_dir.join(CA_CERTIFICATE_FILE);
    if out_dir != ca_dir {
        fs::write(&path, authority.ca_pem()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(path)
}

fn advise_replace(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(selvedge_certs::CertsError::Exists { .. }) => anyhow::anyhow!("{error} (--replace)"),
        _ => error,
    }
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let summaries = args.files.iter().map(|path| describe(path)).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        out::print(&serde_json::to_string_pretty(&summaries)?);
        return Ok(());
    }
    for (path, summary) in args.files.iter().zip(&summaries) {
        out::print(&in_words(path, summary));
    }
    Ok(())
}

fn in_words(path: &Path, summary: &CertSummary) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("file", path.display().to_string());
    row("identity", summary.uri.clone());
    let role = match (summary.is_ca, summary.role) {
        (true, _) => "CA".to_owned(),
        (false, Some(role)) => role.to_string(),
        (false, None) => "none that a mesh knows".to_owned(),
    };
    row("role", role);
    let ips = summary.ips.iter().map(ToString::to_string);
    row("valid for", summary.dns_names.iter().cloned().chain(ips).collect::<Vec<_>>().join(" "));
    row("from", summary.not_before.clone());
    let left =
        if summary.expired { "EXPIRED".to_owned() } else { format!("{} days left", summary.days_left) };
    row("until", format!("{} ({left})", summary.not_after));
    row("serial", summary.serial.clone());
    table.to_string()
}
