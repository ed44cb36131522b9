// SPDX-License-Identifier: Apache-2.0
//! systemd over D-Bus (org.freedesktop.systemd1(5)).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use zbus::connection::{Builder, Connection};
use zbus::message::Message;
use zbus::{DynamicType, OwnedObjectPath, OwnedVariant};

use super::fact::UnitFact;
use super::{Act, CALL_LIMIT, JOB_LIMIT, ServiceManager, Units, live};
use crate::base::root::Root;

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
/// How often a job is looked at.
const POLL: Duration = Duration::from_millis(50);

/// One command of an `Exec...=` property: program, arguments, and eight things about its last run.
type Exec = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

/// A connection to systemd.
#[derive(Debug)]
pub struct Bus {
    connection: Connection,
}

impl Bus {
    /// Connects over the system bus.
    pub fn system() -> Result<Bus> {
        Self::open(CALL_LIMIT).context("connecting to the system bus")
    }

    /// Each call over it takes no longer than `limit`.
    fn open(limit: Duration) -> Result<Bus> {
        let opening = async {
            let connection = Builder::system().method_timeout(limit).build().await?;
            // A bus without systemd behind it is none for us.
            let unit = "-.mount";
            connection.call_method(Some(NAME), MANAGER.0, Some(MANAGER.1), "LoadUnit", &unit).await?;
            anyhow::Ok(Bus { connection })
        };
        zbus::block_on(within(CALL_LIMIT, opening)).context("no answer in time")?
    }

    fn call<B: serde::Serialize + DynamicType>(
        &self,
        (path, interface): (&str, &str),
        method: &str,
        body: &B,
    ) -> Result<Message> {
        let call = self.connection.call_method(Some(NAME), path, Some(interface), method, body);
        Ok(zbus::block_on(call)?)
    }

    fn manager<B: serde::Serialize + DynamicType>(&self, method: &str, body: &B) -> Result<Message> {
        self.call(MANAGER, method, body).with_context(|| format!("asking systemd ({method})"))
    }

    /// All properties of an object's interface.
    fn properties(&self, path: &str, interface: &str) -> Result<Properties> {
        let interface = format!("{NAME}.{interface}");
        let reply = self.call((path, "org.freedesktop.DBus.Properties"), "GetAll", &interface)?;
        Ok(Properties(reply.body().deserialize()?))
    }

    fn load(&self, name: &str) -> Result<OwnedObjectPath> {
        let reply = self.manager("LoadUnit", &name)?;
        Ok(reply.body().deserialize()?)
    }

    /// Queues a job for a unit and waits until it is done.
    fn run_job(&self, method: &str, name: &str, limit: Duration) -> Result<Properties> {
        let reply = self.manager(method, &(name, "replace"))?;
        let job: OwnedObjectPath = reply.body().deserialize()?;
        let again = self.wait_until_gone(job.as_str(), limit).with_context(|| name.to_string())?;
        let bus = again.as_ref().unwrap_or(self);
        bus.properties(bus.load(name)?.as_str(), "Unit")
    }

    /// A job that is done is gone. (Its signal would need a subscription, and a listener that must not miss it.) A question
    /// that fails for another reason, or is not answered in time, says nothing of the job: it is asked again, over a new
    /// connection, which is returned.
    fn wait_until_gone(&self, job: &str, limit: Duration) -> Result<Option<Bus>> {
        let deadline = Instant::now() + limit;
        let mut again: Option<Bus> = None;
        loop {
            let unanswered = match again.as_ref().unwrap_or(self).properties(job, "Job") {
                Ok(_) => None,
                Err(error) if is_unknown(&error) => return Ok(again),
                Err(error) => Some(error),
            };
            if Instant::now() > deadline {
                let late = format!("the job is not done after {} s", limit.as_secs());
                return Err(
                    unanswered.map_or_else(|| anyhow!(late.clone()), |error| error.context(late.clone()))
                );
            }
            if unanswered.is_some() {
                again = Self::open(CALL_LIMIT).ok().or(again);
            }
            std::thread::sleep(POLL);
        }
    }

    fn bring_up(&self, method: &str, name: &str, limit: Duration) -> Result<()> {
        let before = self.properties(self.load(name)?.as_str(), "Unit")?.invocation();
        let unit = self.run_job(method, name, limit)?;
        let state = unit.text("ActiveState");
        if matches!(state.as_str(), "active" | "reloading") {
            // A job can be cancelled by someone else's: the old process runs on then.
            if method == "RestartUnit" && before.is_some() && unit.invocation() == before {
                bail!("{name} was not restarted: its job was cancelled");
            }
            return Ok(());
        }
        let service = self.properties(self.load(name)?.as_str(), "Service").unwrap_or_default();
        let (result, status) = (service.text("Result"), service.get::<i32>("ExecMainStatus").unwrap_or(0));
        bail!(
            "{name} did not start: it is {state}, systemd says result '{result}', main process's status {status} (see journalctl -u {name})"
        );
    }
}

/// Does systemd say that there is no such object?
fn is_unknown(error: &anyhow::Error) -> bool {
    use zbus::fdo::Error::{UnknownInterface, UnknownMethod, UnknownObject};
    match error.downcast_ref() {
        Some(zbus::Error::FDO(error)) => {
            matches!(**error, UnknownObject(_) | UnknownInterface(_) | UnknownMethod(_))
        }
        _ => false,
    }
}

impl Units for Bus {
    fn unit(&self, name: &str) -> Result<Option<UnitFact>> {
        let context = || format!("reading the unit {name}");
        let path = self.load(name).with_context(context)?;
        let mut all = self.properties(path.as_str(), "Unit").with_context(context)?;
        if all.text("LoadState") == "not-found" {
            return Ok(None);
        }
        let own = match name.rsplit_once('.') {
            Some((_, "service")) => self.properties(path.as_str(), "Service").with_context(context)?,
            Some((_, "socket")) => self.properties(path.as_str(), "Socket").with_context(context)?,
            Some((_, "mount")) => self.properties(path.as_str(), "Mount").with_context(context)?,
            _ => Properties::default(),
        };
        // No name of one interface is another thing in the other.
        all.0.extend(own.0);
        let mut fact = fact(&all)?;
        live::see_new_drop_ins(&Root::open(Path::new("/"))?, &mut fact).with_context(context)?;
        Ok(Some(fact))
    }
}

impl ServiceManager for Bus {
    fn reload(&self) -> Result<()> {
        // It answers when all generators have run and all units are read: on a busy or emulated node not within CALL_LIMIT.
        Self::open(JOB_LIMIT)?.manager("Reload", &()).map(drop)
    }

    fn act(&self, act: Act, name: &str) -> Result<()> {
        match act {
            Act::Reload => {
                self.run_job("ReloadUnit", name, JOB_LIMIT)?;
                let service = self.properties(self.load(name)?.as_str(), "Service").unwrap_or_default();
                match service.text("ReloadResult").as_str() {
                    "" | "success" => Ok(()),
                    result => bail!("{name} did not reload: systemd says result '{result}'"),
                }
            }
            Act::Restart => self.bring_up("RestartUnit", name, JOB_LIMIT),
            Act::Start(limit) => self.bring_up("StartUnit", name, limit),
            Act::Stop(limit) => match self.run_job("StopUnit", name, limit)?.text("ActiveState").as_str() {
                "inactive" | "failed" => Ok(()),
                state => bail!("{name} did not stop: it is {state}"),
            },
            Act::Forgive => self.manager("ResetFailedUnit", &name).map(drop),
            Act::Kill => self.manager("KillUnit", &(name, "all", 9i32)).map(drop),
        }
    }
}

/// The properties of one interface. Older systemds lack some: those read as not set.
#[derive(Debug, Default)]
struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    fn get<T: TryFrom<OwnedVariant>>(&self, key: &str) -> Option<T> {
        T::try_from(self.0.get(key)?.clone()).ok()
    }

    fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_default()
    }

    /// Another one at each start.
    fn invocation(&self) -> Option<Vec<u8>> {
        self.get("InvocationID")
    }

    fn arguments(&self, key: &str) -> Vec<Vec<String>> {
        self.get::<Vec<Exec>>(key).unwrap_or_default().into_iter().map(|exec| exec.1).collect()
    }
}

fn fact(all: &Properties) -> Result<UnitFact> {
    let files: Vec<(String, bool)> = all.get("EnvironmentFiles").unwrap_or_default();
    Ok(UnitFact {
        need_daemon_reload: all.get("NeedDaemonReload").unwrap_or(false),
        environment_files: files.into_iter().map(|(path, optional)| (path.into(), optional)).collect(),
        default_dependencies: all.get("DefaultDependencies").unwrap_or(true),
        main_pid: all.get("MainPID").filter(|pid| *pid != 0),
        state_change_timestamp: all.get("StateChangeTimestamp").filter(|time| *time != 0),
        active_enter_timestamp: all.get("ActiveEnterTimestamp").filter(|time| *time != 0),
        ..UnitFact::of(
            |key| all.text(key),
            |key| all.get(key).unwrap_or_default(),
            |key| Ok(all.get(key)),
            |key| all.arguments(key),
        )?
    })
}

/// Gives a future so much time; `None` when it did not finish. zbus bounds method calls, but not its own connecting.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let deadline = Instant::now() + limit;
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let timer = Arc::clone(&waker);
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        if let Some(waker) = timer.lock().ok().and_then(|mut waker| waker.take()) {
            waker.wake();
        }
    });
    std::future::poll_fn(move |context| {
        if let Ok(mut waker) = waker.lock() {
            *waker = Some(context.waker().clone());
        }
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if Instant::now() >= deadline => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
