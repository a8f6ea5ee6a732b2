//! The wasm side: compile a policy once, make an instance for each evaluation, call into it.
//!
//! The three steps are apart so that each can be measured: [`Engine::compile`] takes a good part of
//! a second, [`PolicyModule::instantiate`] and [`Instance::call`] microseconds. It knows waPC, and
//! nothing of what the calls mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wapc::{HostCallback, WapcHost};
use wasmtime_provider::wasmtime;
use wasmtime_provider::{EpochDeadlines, WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

use crate::host::HostContext;

/// The compiler and clock that all modules of a process share.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // wasmtime's parts print nothing of use
pub struct Engine {
    engine: wasmtime::Engine,
    interruptible: bool,
}

/// After how many ticks of the engine's clock a guest is interrupted. The server ticks once a
/// second, like policy-server, so that this is a number of seconds give or take one.
pub type Ticks = u64;

impl Engine {
    /// An engine whose guests run as long as they like, as in `kwctl run`.
    pub fn unlimited() -> Result<Self, ModuleError> {
        Self::new(false)
    }

    /// An engine whose guests are interrupted at their deadline; someone must call [`Self::tick`].
    pub fn interruptible() -> Result<Self, ModuleError> {
        Self::new(true)
    }

    fn new(interruptible: bool) -> Result<Self, ModuleError> {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(interruptible);
        let engine = wasmtime::Engine::new(&config)
            .map_err(|error| ModuleError::Engine(error.to_string()))?;
        Ok(Self { engine, interruptible })
    }

    /// Moves the clock on by one.
    pub fn tick(&self) {
        self.engine.increment_epoch();
    }

    /// Compiles a module from its bytes.
    pub fn compile(&self, wasm: &[u8]) -> Result<PolicyModule, ModuleError> {
        let module = wasmtime::Module::new(&self.engine, wasm)
            .map_err(|error| ModuleError::Compile(format!("{error:#}")))?;
        let prepared = WasmtimeEngineProviderBuilder::new()
            .engine(self.engine.clone())
            .module(module)
            .build_pre()
            .map_err(|error| ModuleError::Link(error.to_string()))?;
        Ok(PolicyModule { prepared, interruptible: self.interruptible })
    }

    /// Compiles the module in a file, given as a path or as a `file://` address.
    pub fn compile_file(&self, address: &str) -> Result<PolicyModule, ModuleError> {
        let path = match address.split_once("://") {
            Some(("file", path)) => Path::new(path),
            Some(_) => return Err(ModuleError::NotAFile(address.to_owned())),
            None => Path::new(address),
        };
        let wasm = std::fs::read(path)
            .map_err(|error| ModuleError::Read { path: path.to_owned(), error })?;
        self.compile(&wasm)
    }
}

/// A compiled policy, ready to be instantiated any number of times.
#[derive(Clone)]
#[allow(missing_debug_implementations)]
pub struct PolicyModule {
    prepared: WasmtimeEngineProviderPre,
    interruptible: bool,
}

impl PolicyModule {
    /// A fresh instance, with no memory of others. Runs the module's start functions.
    ///
    /// The deadline holds for start functions and for each call; it is ignored on an unlimited
    /// engine.
    pub fn instantiate(
        &self,
        host: Arc<HostContext>,
        deadline: Option<Ticks>,
    ) -> Result<Instance, ModuleError> {
        let ticks = deadline.unwrap_or(NO_DEADLINE);
        let deadlines =
            self.interruptible.then_some(EpochDeadlines { wapc_init: ticks, wapc_func: ticks });
        let provider = self
            .prepared
            .rehydrate(deadlines)
            .map_err(|error| ModuleError::Link(error.to_string()))?;
        match WapcHost::new(Box::new(provider), Some(callback(host))) {
            Ok(guest) => Ok(Instance { guest }),
            Err(error) if error.to_string().contains(INIT_INTERRUPTED) => {
                Err(ModuleError::Interrupted)
            }
            Err(error) => Err(ModuleError::Start(error.to_string())),
        }
    }
}

fn callback(host: Arc<HostContext>) -> Box<HostCallback> {
    Box::new(move |_instance, binding, namespace, operation, payload| {
        Ok(host.call(binding, namespace, operation, payload)?)
    })
}

/// "Never", on an engine that counts: far enough to outlive any process, and no overflow when the
/// engine adds it to its clock.
const NO_DEADLINE: Ticks = u64::MAX / 2;
/// How the provider says that a start function was interrupted; it has no type for it.
const INIT_INTERRUPTED: &str = "init interrupted, execution deadline exceeded";
/// How the provider says that a call was interrupted.
const CALL_INTERRUPTED: &str = "guest code interrupted, execution deadline exceeded";

/// A running guest. Bound to its thread; an interrupted one must not be called again.
#[derive(Debug)]
pub struct Instance {
    guest: WapcHost,
}

impl Instance {
    /// Calls one of the guest's functions.
    pub fn call(&self, function: &str, payload: &[u8]) -> Result<Vec<u8>, CallFailure> {
        self.guest.call(function, payload).map_err(|error| {
            let text = error.to_string();
            if text.contains(CALL_INTERRUPTED) {
                CallFailure::Interrupted
            } else {
                CallFailure::Guest(text)
            }
        })
    }
}

/// Why a module cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The module is neither a path nor a `file://` address.
    #[error("'{0}' is not a file: policy-host runs local modules only, and downloads none")]
    NotAFile(String),
    /// The file cannot be read.
    #[error("cannot read the policy {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// No engine on this machine.
    #[error("cannot start the wasm engine: {0}")]
    Engine(String),
    /// The file is no module.
    #[error("the policy is not a WebAssembly module: {0}")]
    Compile(String),
    /// The module asks for functions that a waPC host does not have.
    #[error("the policy cannot be linked: {0}")]
    Link(String),
    /// A start function failed, or the module is no waPC guest.
    #[error("the policy does not start: {0}")]
    Start(String),
    /// A start function ran into its deadline.
    #[error("the policy was interrupted while starting")]
    Interrupted,
}

/// Why a call into a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum CallFailure {
    /// It ran into its deadline.
    #[error("{CALL_INTERRUPTED}")]
    Interrupted,
    /// It trapped, or answered with an error.
    #[error("{0}")]
    Guest(String),
}
