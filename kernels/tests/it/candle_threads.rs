//! candle is told to stay on the calling thread only before there are others; that it then does is a doctest's claim,
//! since a test here never has a process to itself.

use worldloom_kernels::candle_threads::keep_candle_on_calling_thread;

#[test]
fn beside_other_threads_the_environment_stays_as_it_is() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    let before = std::env::var_os("CANDLE_NUM_THREADS");
    let alone = keep_candle_on_calling_thread();
    assert!(before.is_some() || !alone, "candle's threads were decided beside another thread");
    assert_eq!(std::env::var_os("CANDLE_NUM_THREADS"), before);
    drop(stop);
    assert!(other.join().unwrap().is_err());
}
