//! The mixed world: a public and a private corner, two people and a robot, one registry.
//!
//! | | `public/**` | `team/**` | `robots/**` |
//! |---|---|---|---|
//! | nobody | pulls | – | – |
//! | bob | pulls | pulls | – |
//! | alice | pulls, pushes | pulls, pushes | – |
//! | robot | pulls | – | pulls, pushes |
//!
//! Each client does what it may, and where it may not, it says so in words that tell the reason.

use std::path::Path;

use super::{Account, Attempt, Client, Session, Stage, pulled_is};
use crate::dist;
use crate::failure::{Context, Failure, Result, fail, same};
use crate::places::Ring;
use crate::process::Run;
use crate::report::Report;
use crate::server::Server;

const ALICE: (&str, &str) = ("alice", "alice:has a colon");
const BOB: (&str, &str) = ("bob", "builder");
/// A robot of a build, which has an API key and no account.
const ROBOT: &str = "robot";

/// The sections of the world's config.yml. The users are in a file, as registry:2's are.
pub(super) fn sections(ring: &Ring) -> Result<String> {
    let mut users = String::new();
    for (user, password) in [ALICE, BOB] {
        users.push_str(&Run::new("htpasswd").args(["-n", "-B", "-C", "5", "-b", user, password]).ok()?);
    }
    let users = ring.write("world.htpasswd", users)?;
    Ok(format!(
        "auth:
  htpasswd:
    realm: world
    path: {}
access:
  groups:
    team: [{alice}]
  rules:
    - {{who: anonymous, may: pull, in: \"public/**\"}}
    - {{who: team, may: [pull, push], in: [\"public/**\", \"team/**\"]}}
    - {{who: {bob}, may: pull, in: \"team/**\"}}
    - {{who: \"key:{robot}\", may: [pull, push], in: \"robots/**\"}}
",
        users.display(),
        alice = ALICE.0,
        bob = BOB.0,
        robot = ROBOT,
    ))
}

/// Makes the robot's key, and narrows it as its holder would; any user name goes with it.
pub(super) fn robot(data: &Path) -> Result<Account> {
    let larder = || Ok::<_, Failure>(Run::new(dist::release()?));
    let key = larder()?
        .args(["key", "create", ROBOT, "--scope", "robots/**:all", "--scope", "public/**:pull"])
        .args(["--scope", "team/**:all", "--expires", "1h", "--data"])
        .arg(data)
        .ok()?;
    let narrow = ["key", "narrow", "--in", "robots/**", "--in", "public/**", "--may", "pull,push"];
    let narrowed = larder()?.args(narrow).stdin(key).ok()?;
    Ok(Account::new("whoever", narrowed.trim()))
}

impl Stage<'_> {
    /// What one client may and may not in this world.
    pub(super) fn run_world<C: Client>(&self, report: &mut Report, client: &C, robot: &Account) {
        let (alice, bob) = (Account::new(ALICE.0, ALICE.1), Account::new(BOB.0, BOB.1));
        let image = &self.layouts.single;
        let place = |corner: &str| format!("{corner}/{}", C::NAME);
        let mut pushed = Vec::new();
        for (who, account, corner) in
            [("alice", &alice, "public"), ("alice", &alice, "team"), ("the robot", robot, "robots")]
        {
            let digest = report.step(C::NAME, &format!("{who} pushes to {corner}"), || {
                let session = self.session_of(client, &format!("push-{corner}"), account)?;
                client.push(&session, image, &session.reference(&place(corner), image.tag))?.done()
            });
            pushed.extend(digest.map(|digest| (corner, digest)));
        }
        let mut pulls = |who: &str, account: Option<&Account>, corner: &str| {
            report.case(C::NAME, &format!("{who} pulls from {corner}"), || {
                let digest = pushed.iter().find(|(known, _)| *known == corner);
                let digest = &digest.context("nothing was pushed there")?.1;
                let purpose = format!("pull-{corner}");
                let session = match account {
                    Some(account) => self.session_of(client, &purpose, account)?,
                    None => self.session(C::NAME, &purpose)?,
                };
                let reference = session.reference(&place(corner), image.tag);
                pulled_is(&client.pull(&session, image, &reference)?.done()?, digest, image)
            });
        };
        pulls("nobody", None, "public");
        pulls("bob", Some(&bob), "team");
        pulls("the robot", Some(robot), "robots");

        let refused = |attempt: Result<Attempt>, message: &str| attempt?.refused(message);
        report.case(C::NAME, "nobody is refused team", || {
            let session = self.session(C::NAME, "nobody-team")?;
            refused(client.pull(&session, image, &session.reference(&place("team"), image.tag)), C::DENIED)
        });
        report.case(C::NAME, "nobody's push to public is refused", || {
            let session = self.session(C::NAME, "nobody-push")?;
            refused(client.push(&session, image, &session.reference(&place("public"), "nobody")), C::NO_LOGIN)
        });
        report.case(C::NAME, "bob's push to team is refused", || {
            let session = self.session_of(client, "bob-push", &bob)?;
            refused(client.push(&session, image, &session.reference(&place("team"), "bob")), C::DENIED)
        });
        report.case(C::NAME, "the robot is refused team", || {
            let session = self.session_of(client, "robot-team", robot)?;
            refused(client.push(&session, image, &session.reference(&place("team"), "robot")), C::DENIED)
        });
        report.case(C::NAME, "alice with bob's password is refused", || {
            let mut session = self.session(C::NAME, "alice-wrong")?;
            let login = session.log_in(client, &Account::new(ALICE.0, BOB.1))?;
            if login.code != Some(0) {
                return login.refused(C::WRONG_PASSWORD);
            }
            let reference = session.reference(&place("team"), "wrong");
            refused(client.push(&session, image, &reference), C::WRONG_PASSWORD)
        });
    }

    fn session_of<C: Client>(&self, client: &C, purpose: &str, account: &Account) -> Result<Session<'_>> {
        let mut session = self.session(C::NAME, purpose)?;
        let login = session.log_in(client, account)?;
        same(&format!("the exit code of `{}` ({})", login.words, login.all()), &login.code, &Some(0))?;
        Ok(session)
    }
}

/// The catalog shows each only what they may pull.
pub(super) fn catalogs(report: &mut Report, server: &Server, robot: &Account) {
    let bob = Account::new(BOB.0, BOB.1);
    for (who, account, hidden) in [
        ("nobody", None, &["team/", "robots/"][..]),
        ("bob", Some(&bob), &["robots/"]),
        ("the robot", Some(robot), &["team/"]),
    ] {
        report.case("curl", &format!("the catalog hides from {who} what is not theirs"), || {
            let run = Run::new("curl").args(["--silent", "--show-error", "--fail"]);
            let run = match account {
                Some(Account { user, password }) => run.args(["--user", &format!("{user}:{password}")]),
                None => {
                    run.args(["--header", &format!("Authorization: Bearer {}", anonymous_token(server)?)])
                }
            };
            let shown = run.arg(format!("http://{}/v2/_catalog?n=1000", server.host)).ok()?;
            if !shown.contains("public/") {
                fail!("what everybody may pull is not in {shown}");
            }
            match hidden.iter().find(|corner| shown.contains(**corner)) {
                Some(corner) => fail!("{corner} is in {shown}"),
                None => Ok(()),
            }
        });
    }
}

fn anonymous_token(server: &Server) -> Result<String> {
    let answer = server.http().get("/auth/token?scope=registry:catalog:*", &[])?;
    let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
    Ok(body.get("token").and_then(|token| token.as_str()).context("a token")?.to_owned())
}
