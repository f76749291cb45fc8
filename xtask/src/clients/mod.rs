//! `cargo xtask clients`: the real clients against the registry, under every way to authenticate, over HTTP and
//! TLS, with images of one and of several architectures. What a client pulls must be what it pushed, by digest; and
//! what the registry refuses, the client must say in words of its own that tell the reason.

mod buildah;
mod crane;
pub(crate) mod ctr;
pub(crate) mod docker;
mod helm;
mod immutable;
mod oras;
mod podman;
mod quotas;
mod regctl;
mod skopeo;
mod wire;
mod world;
pub(crate) mod doors;

use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::failure::{Context, Result, fail, same};
use crate::image::Image;
use crate::places::{LOOPBACK, Ring};
use crate::process::{Output, Run, says};
use crate::report::Report;
use crate::server::{Auth, PASSWORD, Plan, Program, Server, USER};
use crate::tls::Authority;

/// A password that is nobody's.
const WRONG: &str = "Tr0ub4dor";

/// A client program. Each has a file of its own.
trait Client {
    const NAME: &'static str;
    /// Whether a push of this client keeps the bytes of the manifest it was given.
    const KEEPS_DIGEST: bool;
    /// What the client says when the password is wrong, the tag is unknown, the name has capitals in it, and when it
    /// pushes without a login (see [`crate::process::says`]).
    const WRONG_PASSWORD: &'static str;
    const UNKNOWN_TAG: &'static str;
    const BAD_NAME: &'static str;
    const NO_LOGIN: &'static str;
    /// And when somebody who is logged in may not.
    const DENIED: &'static str;

    /// Logs in. Clients without a login take the password from the session at each command.
    fn login(&self, session: &Session<'_>, account: &Account) -> Result<Output>;
    /// Pushes an image from its layout; the digest of what was pushed is in [`Pushed`].
    fn push(&self, session: &Session<'_>, image: &Layout<'_>, reference: &str) -> Result<Attempt>;
    /// Pulls and verifies; answers the digest.
    fn pull(&self, session: &Session<'_>, image: &Layout<'_>, reference: &str) -> Result<Attempt>;
    /// Cases that only this client has.
    fn extras(&self, _report: &mut Report, _session: &Session<'_>, _layouts: &Layouts<'_>) {}
}

/// What came of a client's push or pull.
enum Attempt {
    Done { digest: String },
    Refused(Output),
}

impl Attempt {
    fn done(self) -> Result<String> {
        match self {
            Self::Done { digest } => Ok(digest),
            Self::Refused(output) => {
                fail!("`{}` ended with {:?}\n{}", output.words, output.code, output.all())
            }
        }
    }

    fn refused(self, message: &str) -> Result {
        match self {
            Self::Refused(output) => output.refused(message),
            Self::Done { digest } => {
                fail!("{digest} came through, but should have been refused with {message:?}")
            }
        }
    }
}

/// An image, and the OCI layout where the clients find it.
struct Layout<'a> {
    image: &'a Image,
    dir: PathBuf,
    tag: &'static str,
}

struct Layouts<'a> {
    single: Layout<'a>,
    multi: Layout<'a>,
}

/// One user's home: credentials, settings and scratch space that no other session sees.
struct Session<'a> {
    server: &'a Server,
    home: PathBuf,
    short: PathBuf,
    /// Who is logged in, for clients that have no login and take the password with each command.
    account: Option<Account>,
    engines: &'a Engines,
}

/// Somebody with a password.
#[derive(Clone)]
struct Account {
    user: String,
    password: String,
}

impl Account {
    fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }
}

/// The daemons that some clients are only a face of.
struct Engines {
    docker: docker::Engine,
    containerd: ctr::Engine,
}

impl<'a> Session<'a> {
    fn new(ring: &'a Ring, server: &'a Server, engines: &'a Engines, name: &str) -> Result<Self> {
        let home = ring.make_dir(format!("homes/{name}"))?;
        if home.join("used").try_exists()? {
            fail!("the session {name} exists already");
        }
        std::fs::write(home.join("used"), "")?;
        // buildah refuses to start when the file that the environment names is not there.
        std::fs::write(home.join("containers-auth.json"), "{}")?;
        Ok(Self { server, short: ring.make_short_dir()?, home, account: None, engines })
    }

    fn tls(&self) -> bool {
        self.server.ca.is_some()
    }

    fn log_in(&mut self, client: &impl Client, account: &Account) -> Result<Output> {
        self.account = Some(account.clone());
        client.login(self, account)
    }

    /// A scratch path in the session.
    fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    fn reference(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.server.host)
    }

    /// A command in the session's environment.
    fn run(&self, program: &str) -> Run {
        Run::new(program)
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("REGISTRY_AUTH_FILE", self.path("containers-auth.json"))
            .env("REGCTL_CONFIG", self.path("regctl.json"))
            .env("HELM_REGISTRY_CONFIG", self.path("helm-registry.json"))
            .dir(&self.home)
    }

    /// As [`Session::run`], for Go programs that take the certificate authority from the environment.
    fn run_trusting(&self, program: &str) -> Run {
        match &self.server.ca {
            Some(ca) => self.run(program).env("SSL_CERT_FILE", ca),
            None => self.run(program),
        }
    }
}

/// Runs a command and says whether it was refused.
fn attempt(run: Run, digest: impl FnOnce(&Output) -> Result<String>) -> Result<Attempt> {
    let output = run.output()?;
    match output.code {
        Some(0) => Ok(Attempt::Done { digest: digest(&output)? }),
        _ => Ok(Attempt::Refused(output)),
    }
}

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let program = Program::chosen(arguments)?;
    let only = arguments.text("only").map(|names| names.split(',').collect::<Vec<_>>());
    let mut report = Report::new("clients");
    let ring = Ring::fresh("clients")?;
    let authority = Authority::make(&ring, &[LOOPBACK, "localhost"])?;
    let single = Image::single(1, crate::image::native_architecture(), &[30_000, 3_000_000]);
    let multi = Image::index(10, &["amd64", "arm64"], &[20_000, 200_000]);
    let layouts = Layouts { single: layout(&ring, &single, "one")?, multi: layout(&ring, &multi, "many")? };
    let engines = Engines {
        docker: docker::Engine::start(&ring, "docker", &[])?,
        containerd: ctr::Engine::start(&ring)?,
    };

    let chosen = |name: &str| only.as_ref().is_none_or(|only| only.contains(&name));
    for (auth, tls) in variants(program) {
        let title = format!("{auth:?}-{}", if tls { "https" } else { "http" }).to_lowercase();
        report.about(&title);
        let data = ring.make_dir(format!("data-{title}"))?;
        let open = Plan::open(program, &data);
        let plan = Plan { auth, tls: tls.then_some(&authority), ..open };
        let Some(server) = report.step("registry", "starts", || plan.start(&ring, &title)) else {
            continue;
        };
        let stage =
            Stage { ring: &ring, server: &server, engines: &engines, layouts: &layouts, title: &title };
        each_client(&mut Usual { stage: &stage, report: &mut report, chosen: &chosen });
        if chosen("curl") {
            wire::cases(&mut report, &server, &layouts);
        }
        report.case("registry", "ends on SIGTERM", || server.daemon.stop());
    }
    if program == Program::Larder {
        mixed_world(&mut report, &ring, &engines, &layouts, &chosen)?;
        immutable::cases(&mut report, &ring, &engines, &layouts, &chosen)?;
        quotas::cases(&mut report, &ring, &engines, &layouts, &chosen)?;
    }
    report.about("");
    engines.docker.stop(&mut report);
    engines.containerd.stop(&mut report);
    Ok(report)
}

/// The mixed world, over plain HTTP: what a client understands of a refusal doesn't depend on TLS.
fn mixed_world(
    report: &mut Report,
    ring: &Ring,
    engines: &Engines,
    layouts: &Layouts<'_>,
    chosen: &dyn Fn(&str) -> bool,
) -> Result {
    let sections = world::sections(ring)?;
    on_a_stage(report, ring, engines, layouts, "world", &sections, |stage, data, report| {
        let robot = world::robot(data)?;
        each_client(&mut World { stage, report, chosen, robot: &robot });
        world::catalogs(report, stage.server, &robot);
        Ok(())
    })
}

/// Does something with clients and a registry of its own, whose configuration has these further sections.
fn on_a_stage(
    report: &mut Report,
    ring: &Ring,
    engines: &Engines,
    layouts: &Layouts<'_>,
    title: &'static str,
    sections: &str,
    act: impl FnOnce(&Stage<'_>, &Path, &mut Report) -> Result,
) -> Result {
    report.about(title);
    let data = ring.make_dir(format!("data-{title}"))?;
    let plan = Plan { sections, ..Plan::open(Program::Larder, &data) };
    let Some(server) = report.step("registry", "starts", || plan.start(ring, title)) else { return Ok(()) };
    act(&Stage { ring, server: &server, engines, layouts, title }, &data, report)?;
    report.case("registry", "ends on SIGTERM", || server.daemon.stop());
    Ok(())
}

/// Whether a client meets the rules of a registry: helm makes its images and tags itself, out of charts.
fn meets_rules<C: Client>(chosen: &dyn Fn(&str) -> bool) -> bool {
    chosen(C::NAME) && C::NAME != "helm"
}

/// The line in which a client tells of a refusal in these words; containerd's own client shows no more of it than its
/// status.
fn line_of_refusal<C: Client>(attempt: Attempt, words: &str) -> Result<String> {
    let words = if C::NAME == "ctr" { "403 Forbidden" } else { words };
    match attempt {
        Attempt::Done { digest } => fail!("{digest} came through"),
        Attempt::Refused(output) => {
            let line = output.all().lines().find(|line| says(line, words)).map(|line| line.trim().to_owned());
            line.context(format!("{words:?} in {}", output.all()))
        }
    }
}

/// Something that is done with one client after the other.
trait Visitor {
    fn visit<C: Client>(&mut self, client: &C);
}

fn each_client(visitor: &mut impl Visitor) {
    visitor.visit(&skopeo::Skopeo);
    visitor.visit(&crane::Crane);
    visitor.visit(&regctl::Regctl);
    visitor.visit(&oras::Oras);
    visitor.visit(&helm::Helm);
    visitor.visit(&podman::Podman);
    visitor.visit(&buildah::Buildah);
    visitor.visit(&ctr::Ctr);
    visitor.visit(&docker::Docker);
}

struct Usual<'a> {
    stage: &'a Stage<'a>,
    report: &'a mut Report,
    chosen: &'a dyn Fn(&str) -> bool,
}

impl Visitor for Usual<'_> {
    fn visit<C: Client>(&mut self, client: &C) {
        if (self.chosen)(C::NAME) {
            self.stage.run(self.report, client);
        }
    }
}

struct World<'a> {
    stage: &'a Stage<'a>,
    report: &'a mut Report,
    chosen: &'a dyn Fn(&str) -> bool,
    robot: &'a Account,
}

impl Visitor for World<'_> {
    fn visit<C: Client>(&mut self, client: &C) {
        if (self.chosen)(C::NAME) {
            self.stage.run_world(self.report, client, self.robot);
        }
    }
}

fn layout<'a>(ring: &Ring, image: &'a Image, tag: &'static str) -> Result<Layout<'a>> {
    let dir = ring.make_dir(format!("layout-{tag}"))?;
    image.write_layout(&dir, tag)?;
    Ok(Layout { image, dir, tag })
}

/// The peer has no token service of its own.
fn variants(program: Program) -> Vec<(Auth, bool)> {
    let auths: &[Auth] = match program {
        Program::Larder => &[Auth::None, Auth::Basic, Auth::Token],
        Program::DockerRegistry => &[Auth::None, Auth::Basic],
    };
    auths.iter().flat_map(|auth| [(*auth, false), (*auth, true)]).collect()
}

/// A client may name the child that it chose beside the index that it pulled, but nothing else.
fn pulled_is(pulled: &str, pushed: &str, layout: &Layout<'_>) -> Result {
    let is_child = |digest: &str| layout.image.children.iter().any(|child| child.digest() == digest);
    let mut names = pulled.split(' ');
    if !names.any(|digest| digest == pushed)
        || pulled.split(' ').any(|digest| digest != pushed && !is_child(digest))
    {
        fail!("{pulled} was pulled, but {pushed} was pushed");
    }
    Ok(())
}

/// One running registry with all that the cases need.
struct Stage<'a> {
    ring: &'a Ring,
    server: &'a Server,
    engines: &'a Engines,
    layouts: &'a Layouts<'a>,
    title: &'a str,
}

impl Stage<'_> {
    fn session(&self, name: &str, purpose: &str) -> Result<Session<'_>> {
        Session::new(self.ring, self.server, self.engines, &format!("{name}-{}-{purpose}", self.title))
    }

    fn run<C: Client>(&self, report: &mut Report, client: &C) {
        let repository = format!("ring/{}", C::NAME);
        let single = &self.layouts.single;
        if self.server.auth != Auth::None {
            report.case(C::NAME, "a wrong password is refused", || {
                let mut session = self.session(C::NAME, "wrong")?;
                let login = session.log_in(client, &Account::new(USER, WRONG))?;
                if login.code != Some(0) {
                    return login.refused(C::WRONG_PASSWORD);
                }
                let reference = session.reference(&repository, "wrong");
                client.push(&session, single, &reference)?.refused(C::WRONG_PASSWORD)
            });
            report.case(C::NAME, "a push without a login is refused", || {
                let session = self.session(C::NAME, "nobody")?;
                let reference = session.reference(&repository, "nobody");
                client.push(&session, single, &reference)?.refused(C::NO_LOGIN)
            });
        }
        let Some(session) = report.step(C::NAME, "login", || {
            let mut session = self.session(C::NAME, "user")?;
            if self.server.auth != Auth::None {
                let login = session.log_in(client, &Account::new(USER, PASSWORD))?;
                same(
                    &format!("the exit code of `{}` ({})", login.words, login.all()),
                    &login.code,
                    &Some(0),
                )?;
            }
            Ok(session)
        }) else {
            return;
        };
        self.round(report, client, &session, &repository);
        report.case(C::NAME, "an unknown tag is refused", || {
            let reference = session.reference(&repository, "no-such-tag");
            client.pull(&session, single, &reference)?.refused(C::UNKNOWN_TAG)
        });
        report.case(C::NAME, "a name with capitals is refused", || {
            let reference = session.reference("Ring/Capitals", "one");
            client.push(&session, single, &reference)?.refused(C::BAD_NAME)
        });
        client.extras(report, &session, self.layouts);
    }

    /// Pushes and pulls an image of one and an image of several architectures.
    fn round<C: Client>(&self, report: &mut Report, client: &C, session: &Session<'_>, repository: &str) {
        for (kind, layout) in [("single", &self.layouts.single), ("multi", &self.layouts.multi)] {
            let reference = session.reference(repository, layout.tag);
            let pushed = report.step(C::NAME, &format!("push {kind}-arch"), || {
                let digest = client.push(session, layout, &reference)?.done()?;
                if C::KEEPS_DIGEST {
                    same("the pushed digest", &digest.as_str(), &layout.image.digest())?;
                }
                Ok(digest)
            });
            let Some(pushed) = pushed else { continue };
            report.case(C::NAME, &format!("pull {kind}-arch"), || {
                pulled_is(&client.pull(session, layout, &reference)?.done()?, &pushed, layout)
            });
            if self.server.auth == Auth::Token {
                report.case(C::NAME, &format!("pull {kind}-arch without a login"), || {
                    let anonymous = self.session(C::NAME, &format!("anonymous-{kind}"))?;
                    pulled_is(&client.pull(&anonymous, layout, &reference)?.done()?, &pushed, layout)
                });
            }
        }
    }
}
