//! A `.cu` file compiled for the CPU and loaded: built at the first test that asks, and again when a source changes.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs::{self, File};
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Module;

/// `shim::Launch`.
#[repr(C)]
pub(super) struct Shim {
    pub(super) grid: u32,
    pub(super) threads: u32,
    pub(super) shared_bytes: u32,
    pub(super) seed: u32,
    pub(super) without_file: *const c_char,
    pub(super) without_line: c_int,
    pub(super) left_out: *mut c_int,
}

type Entry = unsafe extern "C" fn(*const Shim, *const *const c_void) -> c_int;

pub(super) struct Library(*mut c_void);

impl Library {
    pub(super) fn of(module: Module) -> Self {
        let path = CString::new(built(module).into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: a library of ours, whose loading runs no code. It is never unloaded; loading it again is the same one.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "could not load {path:?}");
        Self(handle)
    }

    /// # Safety
    /// As [`super::Machine::launch`].
    pub(super) unsafe fn run(&self, kernel: &str, shim: &Shim, arguments: &[*const c_void]) -> c_int {
        let name = CString::new(format!("host_{kernel}")).unwrap();
        // SAFETY: the handle is of a loaded library.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!symbol.is_null(), "there is no kernel {kernel}");
        // SAFETY: HOST_ENTRY defines it with this type; the arguments are the caller's promise.
        unsafe { std::mem::transmute::<*mut c_void, Entry>(symbol)(shim, arguments.as_ptr()) }
    }
}

/// Where the kernels' sources lie.
pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda")
}

/// Every header that a file of kernels may include.
fn headers() -> Vec<PathBuf> {
    let entries = [sources(), sources().join("host")].map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut headers: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "cuh" || extension == "h")).collect();
    headers.sort();
    headers
}

/// The library's path, after building it if it is not there. Tests in other processes wait meanwhile.
fn built(module: Module) -> PathBuf {
    let (kernels, shim) = (sources().join(format!("{}.cu", module.name())), sources().join("host/shim.cpp"));
    let mut hasher = DefaultHasher::new();
    for file in headers().iter().chain([&kernels, &shim]) {
        hasher.write(&fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    let folder = Path::new(env!("OUT_DIR"));
    let path = folder.join(format!("{}-{:016x}.so", module.name(), hasher.finish()));
    let lock = File::create(folder.join(format!("{}.lock", module.name()))).unwrap();
    lock.lock().unwrap();
    if !path.exists() {
        compile(&kernels, &shim, &path);
    }
    path
}

fn compile(kernels: &Path, shim: &Path, into: &Path) {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let unfinished = into.with_extension("unfinished");
    // Kernels do without fused multiply-add here, as portable builds of C++ do. Checks that are on by default in some
    // distributions take the fibers' jumps between stacks for errors.
    let arguments =
        "-std=c++17 -O1 -fPIC -shared -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0 -Wall -Werror -Wno-unknown-pragmas -x c++";
    let mut command = Command::new(&compiler);
    command.args(arguments.split(' ')).arg(kernels).arg(shim).arg("-o").arg(&unfinished);
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "the CUDA kernels are tested as C++, and there is no C++ compiler {compiler:?} ({error}): \
             install g++ (Debian, Ubuntu: apt-get install g++) or name one with CXX"
        )
    });
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&unfinished, into).unwrap();
}
