//! A persistent thread pool for kernels: short jobs of many equal tasks, started thousands of times a second.
//!
//! Workers spin for a short while after a job and then park, so that back-to-back kernels start within a microsecond and an
//! idle program costs nothing. Tasks are handed out one by one from a counter; a worker that wakes too late for a job skips it, so
//! on a busy machine a job never waits for a thread that has nothing to do.
//!
//! Which thread runs which task is not deterministic. Kernels therefore make results depend on the task alone.

use std::any::Any;
use std::cell::{RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Spins before a worker parks: some tens of microseconds, longer than the gap between two kernels of a network.
const SPINS_BEFORE_PARKING: u32 = 20_000;
/// Spins of the caller before it yields its core while the last tasks finish on other threads.
const SPINS_BEFORE_YIELDING: u32 = 2_000;
/// Bit of `gate` that says that no further worker may join the job; the bits below count the workers inside.
const CLOSED: usize = 1 << (usize::BITS - 1);

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

thread_local! {
    /// The jobs that this thread is running, the innermost last: the address of the pool's shared state, and the thread's index in that
    /// pool. Jobs nest only when a task starts another one.
    static RUNNING: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

struct Shared {
    /// Incremented once per job.
    epoch: AtomicUsize,
    /// See [`CLOSED`].
    gate: AtomicUsize,
    next: AtomicUsize,
    tasks: AtomicUsize,
    job: UnsafeCell<Option<*const Task<'static>>>,
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
    quit: AtomicBool,
    sleeping: AtomicUsize,
    parking: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is written only by the thread that holds `Pool::submit` while the gate is closed and no worker is inside, and is read
// only by workers that have entered through the open gate; everything else is atomic or behind a mutex.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` points to a `Sync` closure that outlives the job.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}

/// Persistent threads that run [`Pool::par_for`] jobs. Dropping the pool ends its threads.
pub struct Pool {
    shared: Arc<Shared>,
    submit: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
    threads: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Tells pools apart while they live.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Takes tasks until none is left; keeps the first panic and drops the remaining tasks.
    fn run_tasks(&self, thread: usize, task: &Task<'_>) {
        RUNNING.with_borrow_mut(|running| running.push((self.address(), thread)));
        let tasks = self.tasks.load(Ordering::Relaxed);
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= tasks {
                break;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(thread, index))) {
                self.next.store(tasks, Ordering::Relaxed);
                lock(&self.panicked).get_or_insert(panic);
            }
        }
        RUNNING.with_borrow_mut(Vec::pop);
    }

    fn wait_for_job(&self, seen: usize) {
        for _ in 0..SPINS_BEFORE_PARKING {
            if self.epoch.load(Ordering::Acquire) != seen || self.quit.load(Ordering::Relaxed) {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.parking);
        // `sleeping` goes up before the epoch is looked at, and the caller raises the epoch before it looks at `sleeping`: one
        // of the two sees the other, so no wake-up is lost.
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while self.epoch.load(Ordering::SeqCst) == seen && !self.quit.load(Ordering::SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }

    fn work(&self, thread: usize) {
        let mut seen = 0;
        loop {
            self.wait_for_job(seen);
            if self.quit.load(Ordering::SeqCst) {
                return;
            }
            seen = self.epoch.load(Ordering::Acquire);
            let entered = self
                .gate
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |gate| {
                    (gate & CLOSED == 0).then_some(gate + 1)
                })
                .is_ok();
            if entered {
                // SAFETY: the gate was open, so the caller of `par_for` has stored its job and stays in `par_for` until this thread
                // has left the gate again; the closure behind the pointer is alive until then.
                #[allow(unsafe_code)]
                let task = unsafe { (*self.job.get()).map(|task| &*task) };
                if let Some(task) = task {
                    self.run_tasks(thread, task);
                }
                self.gate.fetch_sub(1, Ordering::Release);
            }
        }
    }

    fn wake_sleepers(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.parking));
            self.wake.notify_all();
        }
    }
}

impl Pool {
    /// Starts a pool of `threads` threads, the calling one included (0 counts as 1). If the system refuses a thread, the pool has fewer.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            gate: AtomicUsize::new(CLOSED),
            next: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            panicked: Mutex::new(None),
            quit: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            parking: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut workers = Vec::new();
        for thread in 1..threads.max(1) {
            let shared = Arc::clone(&shared);
            let started = std::thread::Builder::new()
                .name(format!("kernel-{thread}"))
                .spawn(move || shared.work(thread));
            match started {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        let threads = workers.len() + 1;
        Self { shared, submit: Mutex::new(()), workers, threads }
    }

    /// Number of threads, the caller of [`Pool::par_for`] included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `task(thread, index)` for every index below `tasks` and returns when all are done. `thread` is below
    /// [`Pool::threads`], and no two tasks with the same `thread` run at the same time. A panic in a task is passed on to the
    /// caller after the running tasks have ended.
    ///
    /// A job started inside a task runs in place, on that task's thread, under its index if the pool is the same. In another pool it runs
    /// as thread 0, after that pool's present job; two pools that start jobs in each other at the same time would wait for each other.
    pub fn par_for(&self, tasks: usize, task: impl Fn(usize, usize) + Sync) {
        if tasks == 0 {
            return;
        }
        let shared = &*self.shared;
        let (nested, own) = RUNNING.with_borrow(|running| {
            (!running.is_empty(), running.iter().rfind(|(pool, _)| *pool == shared.address()).copied())
        });
        if let Some((_, thread)) = own {
            (0..tasks).for_each(|index| task(thread, index));
            return;
        }
        let submit = lock(&self.submit);
        let task: &Task<'_> = &task;
        shared.tasks.store(tasks, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        // Workers of this pool know nothing of the jobs around a nested one: if they started a job in a pool that is running one of those,
        // they would wait for it forever.
        if tasks > 1 && self.threads > 1 && !nested {
            // SAFETY: only the lifetime of the reference is erased. The job is reachable for workers only while the gate is open, and
            // this function closes it and waits for all of them to leave before it returns. `submit` is held, so no other
            // caller writes `job`, and with the gate closed no worker reads it now.
            #[allow(unsafe_code)]
            unsafe {
                *shared.job.get() = Some(std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task));
            }
            shared.gate.store(0, Ordering::Release);
            shared.epoch.fetch_add(1, Ordering::SeqCst);
            shared.wake_sleepers();
        }
        shared.run_tasks(0, task);
        shared.gate.fetch_or(CLOSED, Ordering::AcqRel);
        let mut spins = 0;
        while shared.gate.load(Ordering::Acquire) != CLOSED {
            if spins < SPINS_BEFORE_YIELDING {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let panic = lock(&shared.panicked).take();
        drop(submit);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.parking));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pool").field("threads", &self.threads).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whatever_the_thread_count() {
        for threads in [0, 1, 2, 5] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.par_for(tasks, |thread, index| {
                    assert!(thread < pool.threads());
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {tasks} tasks"
                );
            }
        }
    }

    #[test]
    fn jobs_work_after_the_workers_have_parked() {
        let pool = Pool::new(3);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            pool.par_for(100, |_, index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_stays_usable() {
        let pool = Pool::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.par_for(50, |_, index| assert!(index != 13, "task {index}"));
        }));
        let message = *result.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("task 13"), "{message}");
        let sum = AtomicUsize::new(0);
        pool.par_for(10, |_, _| {
            sum.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 10);
    }

    #[test]
    fn nested_jobs_and_several_callers_do_not_block() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        pool.par_for(4, |_, _| {
                            pool.par_for(3, |_, _| {
                                sum.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 50 * 12);
    }

    #[test]
    fn threads_of_one_pool_are_not_taken_for_those_of_another() {
        let (large, small) = (Pool::new(4), Pool::new(2));
        let busy: Vec<AtomicBool> = (0..small.threads()).map(|_| AtomicBool::new(false)).collect();
        let (sum, back) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for _ in 0..50 {
            large.par_for(8, |outer, _| {
                small.par_for(3, |thread, _| {
                    assert!(thread < small.threads(), "index {thread} of the large pool");
                    assert!(!busy[thread].swap(true, Ordering::SeqCst), "two tasks as thread {thread}");
                    sum.fetch_add(1, Ordering::Relaxed);
                    large.par_for(2, |again, _| {
                        assert_eq!(again, outer, "back in the large pool, on the same thread");
                        back.fetch_add(1, Ordering::Relaxed);
                    });
                    busy[thread].store(false, Ordering::SeqCst);
                });
            });
        }
        assert_eq!((sum.into_inner(), back.into_inner()), (50 * 8 * 3, 50 * 8 * 3 * 2));
        let threads = Mutex::new(Vec::new());
        small.par_for(200, |thread, _| {
            std::thread::sleep(std::time::Duration::from_micros(50));
            lock(&threads).push(thread);
        });
        assert!(lock(&threads).contains(&1), "a job that is not nested still uses all threads");
    }

    #[test]
    fn a_panic_in_a_nested_job_of_another_pool_reaches_the_outer_caller() {
        let (large, small) = (Pool::new(3), Pool::new(1));
        let result = catch_unwind(AssertUnwindSafe(|| {
            large.par_for(4, |_, _| small.par_for(5, |_, index| assert!(index != 3, "task {index}")));
        }));
        let message = *result.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("task 3"), "{message}");
        large.par_for(2, |_, _| small.par_for(2, |thread, _| assert_eq!(thread, 0)));
    }
}
