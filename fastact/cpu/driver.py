"""The driver: NumPy calls it as the inner loop of every kernel, and it shares large calls out.

It knows nothing of formulas. It gets the address of a serial loop and of the pool's state (the
layout of both is in ``pool``), decides whether a call is worth splitting, and runs the pieces.

How a call is shared. The caller publishes a *job* and then works on it like everybody else. Pieces
are claimed by compare-and-swap on one word, the *ticket*: generation of the job, next piece from
the front, one past the last piece at the back. The caller claims from the front and workers from
the back, so that back-to-back calls over the same arrays find each half in the cache of the core
that had it before. Whoever reads a job that is being replaced fails to claim, because the
generation has changed. The caller returns when the pieces that were claimed are done: it never
waits for a worker that has not begun, and where no worker comes the loop is simply serial.

Importing this module imports Numba.
"""

from __future__ import annotations

from numba import njit, types

from fastact.cpu import pool as p
from fastact.cpu.intrinsics import (
    LINE,
    address,
    atomic_add,
    atomic_load,
    atomic_store,
    call_c,
    call_loop,
    compare_and_swap,
    float_state,
    pause,
    set_float_state,
    set_word,
    stack,
    stream_fence,
    stream_line,
    word,
)

compiled = njit(error_model="numpy")

_byte = types.CPointer(types.uint8)
_words = types.CPointer(types.intp)
LOOP_SIGNATURE = types.void(types.CPointer(_byte), _words, _words, _byte)
WORKER_SIGNATURE = types.int64(types.int64)

one_word = stack(8)
two_words = stack(16)
operand_words = stack(8 * p.MAX_OPERANDS)
job_words = stack(8 * p.JOB_WORDS)
tile_bytes = stack(p.TILE_BYTES)
cpu_mask = stack(p.CPU_MASK_BYTES)
signal_set = stack(8 * p.SIGNAL_SET_WORDS)


# --- a range of elements ------------------------------------------------------------------------


@compiled
def run_range(job, first, count):
    """Run elements ``first`` to ``first + count`` of a job on this thread."""
    dimensions = one_word()
    args = operand_words()
    operands = word(job, p.JOB_OPERANDS)
    steps = job + 8 * p.JOB_STEPS
    for k in range(operands):
        set_word(args, k, word(job, p.JOB_ARGS + k) + first * word(steps, k))
    if word(job, p.JOB_STREAM) != 0:
        stream_range(job, args, steps, count)
    else:
        set_word(dimensions, 0, count)
        call_loop(word(job, p.JOB_LOOP), args, dimensions, steps, 0)


@compiled
def stream_range(job, args, steps, count):
    """The same with non-temporal stores: tiles are computed in the L1 cache and copied past it.

    An ordinary store to memory that is in no cache reads it first; see ``pool.STREAM_FROM``.
    """
    dimensions = one_word()
    tile = tile_bytes()
    loop = word(job, p.JOB_LOOP)
    out = word(job, p.JOB_OPERANDS) - 1
    itemsize = word(steps, out)
    destination = word(args, out)
    unaligned = min(count, (-destination % LINE) // itemsize)
    if unaligned > 0:
        set_word(dimensions, 0, unaligned)
        call_loop(loop, args, dimensions, steps, 0)
        advance(args, steps, out, unaligned)
        destination += unaligned * itemsize
        count -= unaligned
    set_word(args, out, tile)
    while count * itemsize >= LINE:
        nbytes = min(p.TILE_BYTES, count * itemsize // LINE * LINE)
        set_word(dimensions, 0, nbytes // itemsize)
        call_loop(loop, args, dimensions, steps, 0)
        for offset in range(0, nbytes, LINE):
            stream_line(destination + offset, tile + offset)
        advance(args, steps, out, nbytes // itemsize)
        destination += nbytes
        count -= nbytes // itemsize
    if count > 0:
        set_word(args, out, destination)
        set_word(dimensions, 0, count)
        call_loop(loop, args, dimensions, steps, 0)
    stream_fence()


@compiled
def advance(args, steps, inputs, count):
    for k in range(inputs):
        set_word(args, k, word(args, k) + count * word(steps, k))


# --- claiming pieces ----------------------------------------------------------------------------


@compiled
def run_pieces(state, worker):
    """Claim and run pieces of the current job until none is left; how many this thread ran.

    ``worker`` is the worker's number, or -1 for the caller.
    """
    job = job_words()
    ticket_at = state + 8 * p.TICKET
    ran = 0
    ticket = atomic_load(ticket_at)
    while True:
        front = (ticket >> 16) & 0xFFFF
        back = ticket & 0xFFFF
        if front >= back:
            return ran
        # A copy, because the job may be replaced while it is read. Then the claim below fails.
        for i in range(p.JOB_WORDS):
            set_word(job, i, word(state, p.JOB + i))
        if worker >= word(job, p.JOB_WORKERS):
            return ran
        if worker < 0:
            piece, claimed = front, ticket + (1 << 16)
        else:
            piece, claimed = back - 1, ticket - 1
        if compare_and_swap(ticket_at, ticket, claimed):
            if worker >= 0:
                # Modes such as flush-to-zero must not depend on which thread ran a piece.
                set_float_state(word(job, p.JOB_FLOAT_STATE))
            size = word(job, p.JOB_PIECE)
            first = piece * size
            run_range(job, first, min(size, word(job, p.JOB_COUNT) - first))
            atomic_add(state + 8 * p.DONE, 1)
            ran += 1
        ticket = atomic_load(ticket_at)


# --- workers ------------------------------------------------------------------------------------


@compiled
def now(state):
    """Nanoseconds of the monotonic clock."""
    timespec = two_words()
    call_c(word(state, p.CLOCK_GETTIME), 1, timespec, 0, 0, 0, 0, 0, 0)
    return word(timespec, 0) * 1_000_000_000 + word(timespec, 1)


def worker(record):
    """A worker thread: run pieces, spin for a while in case more work comes at once, sleep."""
    state = word(record, p.WORKER_STATE)
    number = word(record, p.WORKER_NUMBER)
    asleep = record + 8 * p.WORKER_ASLEEP
    atomic_add(state + 8 * p.AWAKE, 1)
    idle_since = now(state)
    while atomic_load(state + 8 * p.STOP) == 0:
        if run_pieces(state, number) > 0:
            idle_since = now(state)
        for _ in range(p.PAUSES_PER_LOOK):
            pause()
        if now(state) - idle_since > p.SPIN_NS:
            atomic_store(asleep, 1)
            atomic_add(state + 8 * p.AWAKE, -1)
            # Whoever stops the pool sets STOP before looking at ASLEEP.
            if atomic_load(state + 8 * p.STOP) == 0:
                syscall, futex = word(state, p.SYSCALL), word(state, p.FUTEX)
                call_c(syscall, futex, asleep, p.FUTEX_WAIT, 1, 0, 0, 0, 0)
            atomic_store(asleep, 0)
            atomic_add(state + 8 * p.AWAKE, 1)
            idle_since = now(state)
    atomic_add(state + 8 * p.AWAKE, -1)
    return 0


@compiled
def create_workers(state, wanted):
    """Start worker threads until there are ``wanted``."""
    mask, everything = signal_set(), signal_set()
    for i in range(p.SIGNAL_SET_WORDS):
        set_word(everything, i, -1)
    # Signals are for the threads that the program knows of.
    call_c(word(state, p.PTHREAD_SIGMASK), p.SIG_SETMASK, everything, mask, 0, 0, 0, 0, 0)
    number = word(state, p.CREATED)
    while number < wanted:
        record = state + 8 * (p.WORKERS + number * p.WORKER_WORDS)
        set_word(record, p.WORKER_STATE, state)
        set_word(record, p.WORKER_NUMBER, number)
        set_word(record, p.WORKER_EXCLUDED, -1)
        set_word(record, p.WORKER_ASLEEP, 0)
        thread = record + 8 * p.WORKER_THREAD
        create, run = word(state, p.PTHREAD_CREATE), word(state, p.WORKER_FUNCTION)
        if (call_c(create, thread, 0, run, record, 0, 0, 0, 0) & 0xFFFFFFFF) != 0:
            break
        number += 1
    set_word(state, p.CREATED, number)
    call_c(word(state, p.PTHREAD_SIGMASK), p.SIG_SETMASK, mask, 0, 0, 0, 0, 0, 0)


@compiled
def keep_off(state, record, cpu):
    """Let a worker run on every allowed CPU but the caller's, where it would only be in the way."""
    if word(record, p.WORKER_EXCLUDED) == cpu or cpu >= 8 * p.CPU_MASK_BYTES:
        return
    mask = cpu_mask()
    allowed = 0
    for i in range(p.CPU_MASK_BYTES // 8):
        part = word(state, p.CPU_MASK + i)
        if i == cpu >> 6:
            part &= ~(1 << (cpu & 63))
        set_word(mask, i, part)
        allowed |= part
    if allowed != 0:
        thread = word(record, p.WORKER_THREAD)
        setaffinity = word(state, p.PTHREAD_SETAFFINITY)
        call_c(setaffinity, thread, p.CPU_MASK_BYTES, mask, 0, 0, 0, 0, 0)
    set_word(record, p.WORKER_EXCLUDED, cpu)


@compiled
def wake(state, wanted):
    """Wake the first ``wanted`` workers, as far as they sleep."""
    cpu = call_c(word(state, p.SCHED_GETCPU), 0, 0, 0, 0, 0, 0, 0, 0) & 0xFFFFFFFF
    for number in range(wanted):
        record = state + 8 * (p.WORKERS + number * p.WORKER_WORDS)
        asleep = record + 8 * p.WORKER_ASLEEP
        if atomic_load(asleep) == 1:
            keep_off(state, record, cpu)
            if compare_and_swap(asleep, 1, 0):
                syscall, futex = word(state, p.SYSCALL), word(state, p.FUTEX)
                call_c(syscall, futex, asleep, p.FUTEX_WAKE, 1, 0, 0, 0, 0)


# --- the caller ---------------------------------------------------------------------------------


@compiled
def run_shared(state, job, nanoseconds):
    """Run a job together with the pool; False if nobody would help, and nothing was done."""
    wanted = min(word(state, p.THREADS) - 1, max(1, nanoseconds // p.SHARE_NS))
    worth_waking = nanoseconds >= p.WAKE_NS
    if worth_waking and word(state, p.CREATED) < wanted:
        create_workers(state, wanted)
    wanted = min(wanted, word(state, p.CREATED))
    if wanted < 1:
        return False
    awake = atomic_load(state + 8 * p.AWAKE)
    if awake < 1 and not worth_waking:
        return False

    count = word(job, p.JOB_COUNT)
    piece = max(p.PIECE_ELEMENTS, count // ((wanted + 1) * p.PIECES_PER_THREAD))
    out_step = word(job, p.JOB_STEPS + word(job, p.JOB_OPERANDS) - 1)
    piece = min(piece, p.PIECE_BYTES // abs(out_step))
    piece = max((piece + LINE - 1) // LINE * LINE, count // 0xFFFF + 1)
    pieces = (count + piece - 1) // piece
    set_word(job, p.JOB_PIECE, piece)
    set_word(job, p.JOB_WORKERS, wanted)
    for i in range(p.JOB_WORDS):
        set_word(state, p.JOB + i, word(job, i))
    atomic_store(state + 8 * p.DONE, 0)
    generation = (atomic_load(state + 8 * p.TICKET) >> 32) + 1
    atomic_store(state + 8 * p.TICKET, (generation << 32) | pieces)

    if worth_waking and awake < wanted:
        wake(state, wanted)
    run_pieces(state, -1)
    looks = 0
    while atomic_load(state + 8 * p.DONE) < pieces:
        looks += 1
        if looks < p.LOOKS_BEFORE_YIELD:
            pause()
        else:
            call_c(word(state, p.SCHED_YIELD), 0, 0, 0, 0, 0, 0, 0, 0)
    return True


def split(args, dimensions, steps, data):
    """One thread's share of a job under Numba's own threading layer."""
    job = job_words()
    for i in range(p.JOB_WORDS):
        set_word(job, i, word(address(data), i))
    for k in range(word(job, p.JOB_OPERANDS)):
        set_word(job, p.JOB_ARGS + k, address(args[k]))
    run_range(job, 0, dimensions[0])


@compiled
def run_numba_layer(state, job):
    """Run a job with the threads of Numba's own threading layer."""
    dimensions = one_word()
    set_word(dimensions, 0, word(job, p.JOB_COUNT))
    call_c(
        word(state, p.PARALLEL_FOR),
        word(state, p.SPLIT_FUNCTION),
        job + 8 * p.JOB_ARGS,
        dimensions,
        job + 8 * p.JOB_STEPS,
        job,
        0,
        word(job, p.JOB_OPERANDS),
        word(state, p.THREADS),
    )


@compiled
def share(state, job, nanoseconds):
    """Run a job on several threads; False if it has to be run serially, and nothing was done."""
    # A second thread that calls at the same moment does not queue.
    if not compare_and_swap(state + 8 * p.LOCK, 0, 1):
        return False
    shared = False
    # Read again under the lock: whoever stops the pool sets THREADS to 0 and waits for the lock.
    if atomic_load(state + 8 * p.THREADS) > 1:
        layer = word(state, p.LAYER)
        if layer == p.LAYER_POOL:
            shared = run_shared(state, job, nanoseconds)
        elif layer == p.LAYER_NUMBA and nanoseconds >= p.NUMBA_LAYER_NS:
            run_numba_layer(state, job)
            shared = True
    atomic_store(state + 8 * p.LOCK, 0)
    return shared


@compiled
def run_large(kernel, args, count, steps):
    state = word(kernel, p.KERNEL_STATE)
    operands = word(kernel, p.KERNEL_OPERANDS)
    itemsizes = kernel + 8 * p.KERNEL_ITEMSIZES
    itemsize = word(itemsizes, operands - 1)
    job = job_words()
    out = word(args, operands - 1)
    out_step = word(steps, operands - 1)
    out_span = out_step * (count - 1)
    out_low, out_high = out + min(out_span, 0), out + max(out_span, 0) + itemsize
    # The output must not overlap itself, or an input other than element by element: the serial
    # loop gives the result of going from first to last, which pieces would not.
    independent = abs(out_step) >= itemsize
    in_place = False
    nbytes = abs(out_step) * count
    for k in range(operands - 1):
        start, step = word(args, k), word(steps, k)
        span = step * (count - 1)
        nbytes += abs(step) * count
        high = start + max(span, 0) + word(itemsizes, k)
        if start + min(span, 0) < out_high and out_low < high:
            if start == out and step == out_step:
                in_place = True
            else:
                independent = False
        set_word(job, p.JOB_ARGS + k, start)
        set_word(job, p.JOB_STEPS + k, step)
    set_word(job, p.JOB_ARGS + operands - 1, out)
    set_word(job, p.JOB_STEPS + operands - 1, out_step)
    stream = (
        independent
        and not in_place
        and out_step == itemsize
        and nbytes >= word(state, p.STREAM_FROM)
    )
    set_word(job, p.JOB_LOOP, word(kernel, p.KERNEL_LOOP))
    set_word(job, p.JOB_OPERANDS, operands)
    set_word(job, p.JOB_COUNT, count)
    set_word(job, p.JOB_STREAM, 1 if stream else 0)
    set_word(job, p.JOB_FLOAT_STATE, float_state())

    nanoseconds = count * word(kernel, p.KERNEL_COST) // 1000
    if nbytes > p.CACHED_BYTES:
        nanoseconds += nbytes * p.UNCACHED_COST // 1000
    if independent and nanoseconds >= p.AWAKE_NS and word(state, p.THREADS) > 1:
        if share(state, job, nanoseconds):
            return
    run_range(job, 0, count)


def driver(args, dimensions, steps, data):
    """The inner loop that NumPy calls; ``data`` is the address of a kernel record."""
    kernel = address(data)
    count = dimensions[0]
    # Comparing with NaN, or a product that is then discarded, sets flags that NumPy would report
    # as a RuntimeWarning.
    flags = float_state()
    if count < p.SMALL:
        loop = word(kernel, p.KERNEL_LOOP)
        call_loop(loop, address(args), address(dimensions), address(steps), 0)
    else:
        run_large(kernel, address(args), count, address(steps))
    set_float_state(flags)
