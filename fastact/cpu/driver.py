"""The driver: NumPy calls it as the inner loop of every kernel, and it shares large calls out.

It knows nothing of formulas. It gets the address of a serial loop and of the pool's state (the
layout of both is in ``layout``), decides whether a call is worth splitting, and runs the pieces.

How a call is shared. The caller publishes a *job* and then works on it like everybody else. Pieces
are claimed by compare-and-swap on one word, the *ticket*: generation of the job, next piece from
the front, one past the last piece at the back. The caller claims from the front and workers from
the back, so that back-to-back calls over the same arrays find each half in the cache of the core
that had it before. Whoever reads a job that is being replaced fails to claim, because the
generation has changed. The caller returns when the pieces that were claimed are done: it never
waits for a worker that has not begun, and where no worker comes the loop is simply serial.

A call has so many *items*: elements, or for kernels over rows, as softmax, rows (the loops of
NumPy's generalized ufuncs: the length of a row is the second of the dimensions, and the strides
inside the operands' rows follow the steps). Rows are never split.

The functions that ``shared`` names are compiled one by one, and call each other through addresses
in the pool's state. ``driver`` is all that a small call needs; the others wait for a large one. All
values are integers (see ``integers``): addresses, sizes, counts.
"""

from __future__ import annotations

from fastact.cpu import layout as p
from fastact.cpu.threads import create_thread, larger, magnitude, now, smaller, two_words
from fastact.cpu.words import (
    LINE,
    add_eight_float32,
    add_eight_float64,
    add_float32,
    add_float64,
    atomic_add,
    atomic_load,
    atomic_store,
    call_c,
    call_loop,
    compare_and_swap,
    copy_words,
    float_state,
    pause,
    set_float32,
    set_float_state,
    set_word,
    stack,
    stream_fence,
    stream_line,
    word,
)

operand_words = stack(8 * p.MAX_OPERANDS)
call_words = stack(8 * p.CALL_WORDS)
job_words = stack(8 * p.JOB_WORDS)
tile_bytes = stack(p.TILE_BYTES)
cpu_mask = stack(p.CPU_MASK_BYTES)


# --- a range of elements ------------------------------------------------------------------------


def elements(job, first, count):
    """Run items ``first`` to ``first + count`` of a job on this thread."""
    dimensions = two_words()
    args = operand_words()
    loop = word(job, p.JOB_LOOP)
    steps = job + 8 * p.JOB_STEPS
    operands = word(job, p.JOB_OPERANDS)
    for k in range(operands):
        set_word(args, k, word(job, p.JOB_ARGS + k) + first * word(steps, k))
    set_word(dimensions, 1, word(job, p.JOB_ROW))
    if word(job, p.JOB_STREAM) == 0:
        set_word(dimensions, 0, count)
        call_loop(loop, args, dimensions, steps, 0)
        return 0

    # With non-temporal stores: tiles are computed in the L1 cache and copied past it. An ordinary
    # store to memory that is in no cache reads it first.
    tile = tile_bytes()
    out = operands - word(job, p.JOB_OUTPUTS)
    itemsize = word(steps, out)
    room = p.TILE_BYTES // word(job, p.JOB_OUTPUTS)
    destinations = operand_words()
    copy_words(destinations, args, operands)
    until_aligned = (-word(args, out) & (LINE - 1)) // itemsize
    while count > 0:
        size = smaller(count, room // itemsize)
        whole_lines = size * itemsize & -LINE
        if until_aligned > 0:
            size = smaller(count, until_aligned)
            whole_lines = until_aligned = 0
        elif whole_lines > 0:
            size = whole_lines // itemsize
        for k in range(out, operands):
            staged = tile + (k - out) * room
            set_word(args, k, staged if whole_lines > 0 else word(destinations, k))
        set_word(dimensions, 0, size)
        call_loop(loop, args, dimensions, steps, 0)
        for k in range(out, operands):
            destination, staged = word(destinations, k), tile + (k - out) * room
            for offset in range(0, whole_lines, LINE):
                stream_line(destination + offset, staged + offset)
            set_word(destinations, k, destination + size * itemsize)
        for k in range(out):
            set_word(args, k, word(args, k) + size * word(steps, k))
        count -= size
    stream_fence()
    return 0


# --- claiming pieces ----------------------------------------------------------------------------


def pieces(state, worker):
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
        copy_words(job, state + 8 * p.JOB, p.JOB_WORDS)
        if worker >= word(job, p.JOB_WORKERS):
            return ran
        if worker < 0:
            piece, claimed = front, ticket + (1 << 16)
        else:
            piece, claimed = back - 1, ticket - 1
        if compare_and_swap(ticket_at, ticket, claimed):
            if worker >= 0:
                cpu = call_c(word(state, p.SCHED_GETCPU)) & 0xFFFFFFFF
                record = state + 8 * (p.WORKERS + worker * p.WORKER_WORDS)
                set_word(record, p.WORKER_CPU, cpu)
                # Modes such as flush-to-zero must not depend on which thread ran a piece.
                set_float_state(word(job, p.JOB_FLOAT_STATE))
            size = word(job, p.JOB_PIECE)
            first = piece * size
            count = smaller(size, word(job, p.JOB_COUNT) - first)
            call_c(word(state, p.ELEMENTS), job, first, count)
            atomic_add(state + 8 * p.DONE, 1)
            ran += 1
        ticket = atomic_load(ticket_at)


# --- workers ------------------------------------------------------------------------------------


def worker(record):
    """A worker thread: run pieces, spin for a while in case more work comes at once, sleep."""
    state = word(record, p.WORKER_STATE)
    number = word(record, p.WORKER_NUMBER)
    asleep = record + 8 * p.WORKER_ASLEEP
    atomic_add(state + 8 * p.AWAKE, 1)
    idle_since = now(word(state, p.CLOCK_GETTIME))
    while atomic_load(state + 8 * p.STOP) == 0:
        if call_c(word(state, p.PIECES), state, number) > 0:
            idle_since = now(word(state, p.CLOCK_GETTIME))
        for _ in range(p.PAUSES_PER_LOOK):
            pause()
        if now(word(state, p.CLOCK_GETTIME)) - idle_since > p.SPIN_NS:
            atomic_store(asleep, 1)
            atomic_add(state + 8 * p.AWAKE, -1)
            # Whoever stops the pool sets STOP before changing ASLEEP.
            if atomic_load(state + 8 * p.STOP) == 0:
                syscall, futex = word(state, p.SYSCALL), word(state, p.FUTEX)
                call_c(syscall, futex, asleep, p.FUTEX_WAIT, 1, 0)
            atomic_store(asleep, 0)
            atomic_add(state + 8 * p.AWAKE, 1)
            idle_since = now(word(state, p.CLOCK_GETTIME))
    atomic_add(state + 8 * p.AWAKE, -1)
    return 0


def keep_off(state, record):
    """Let a worker run on every allowed CPU but the caller's, where it would only be in the way."""
    cpu = call_c(word(state, p.SCHED_GETCPU)) & 0xFFFFFFFF
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
        call_c(setaffinity, thread, p.CPU_MASK_BYTES, mask)
    set_word(record, p.WORKER_EXCLUDED, cpu)


def create_workers(state, wanted):
    """Start worker threads until there are ``wanted``."""
    number = word(state, p.CREATED)
    while number < wanted:
        record = state + 8 * (p.WORKERS + number * p.WORKER_WORDS)
        set_word(record, p.WORKER_STATE, state)
        set_word(record, p.WORKER_NUMBER, number)
        set_word(record, p.WORKER_EXCLUDED, -1)
        set_word(record, p.WORKER_CPU, -1)
        set_word(record, p.WORKER_ASLEEP, 0)
        thread = record + 8 * p.WORKER_THREAD
        create, set_mask = word(state, p.PTHREAD_CREATE), word(state, p.PTHREAD_SIGMASK)
        if not create_thread(create, set_mask, thread, word(state, p.WORKER_FUNCTION), record):
            break
        keep_off(state, record)
        number += 1
    set_word(state, p.CREATED, number)


def wake(state, wanted):
    """Wake the first ``wanted`` workers, as far as they sleep."""
    for number in range(wanted):
        record = state + 8 * (p.WORKERS + number * p.WORKER_WORDS)
        asleep = record + 8 * p.WORKER_ASLEEP
        if atomic_load(asleep) == 1:
            keep_off(state, record)
            if compare_and_swap(asleep, 1, 0):
                syscall, futex = word(state, p.SYSCALL), word(state, p.FUTEX)
                call_c(syscall, futex, asleep, p.FUTEX_WAKE, 1, 0)


def in_a_burst(state, nanoseconds):
    """Whether calls like this one come so quickly that workers, once awake, would stay so.

    Each call alone is too short to wake anybody for. Together, with no more time between them than
    a worker spins, they are not.
    """
    started = now(word(state, p.CLOCK_GETTIME))
    together = nanoseconds
    if started - word(state, p.BURST_ENDED) < p.SPIN_NS:
        together += word(state, p.BURST_NS)
    if together >= p.WAKE_NS:
        set_word(state, p.BURST_NS, 0)
        return True
    set_word(state, p.BURST_NS, together)
    set_word(state, p.BURST_ENDED, started + nanoseconds)
    return False


def make_way(state, workers):
    """Send workers that were last seen on the caller's own core to another one."""
    cpu = call_c(word(state, p.SCHED_GETCPU)) & 0xFFFFFFFF
    for number in range(workers):
        record = state + 8 * (p.WORKERS + number * p.WORKER_WORDS)
        if word(record, p.WORKER_CPU) == cpu:
            keep_off(state, record)
            # Only here: whoever else waits for this core might keep it for milliseconds.
            call_c(word(state, p.SCHED_YIELD))


# --- the caller ---------------------------------------------------------------------------------


def run_shared(state, job, nanoseconds):
    """Run a job together with the pool; False if nobody would help, and nothing was done."""
    awake = atomic_load(state + 8 * p.AWAKE)
    worth_waking = nanoseconds >= p.WAKE_NS or (awake < 1 and in_a_burst(state, nanoseconds))
    if awake < 1 and not worth_waking:
        return False
    wanted = smaller(word(state, p.THREADS) - 1, larger(1, nanoseconds // p.SHARE_NS))
    if worth_waking and word(state, p.CREATED) < wanted:
        create_workers(state, wanted)
    wanted = smaller(wanted, word(state, p.CREATED))
    if wanted < 1:
        return False

    count = word(job, p.JOB_COUNT)
    grain = word(job, p.JOB_GRAIN)
    row = word(job, p.JOB_ROW)
    piece = p.PIECE_ELEMENTS if row == 1 else p.PIECE_ROW_ELEMENTS // larger(1, row)
    piece = larger(piece, count // ((wanted + 1) * p.PIECES_PER_THREAD))
    piece = smaller(piece, p.PIECE_BYTES // word(job, p.JOB_ITEM_BYTES))
    piece = larger((piece + grain - 1) // grain * grain, count // 0xFFFF + 1)
    total = (count + piece - 1) // piece
    set_word(job, p.JOB_PIECE, piece)
    set_word(job, p.JOB_WORKERS, wanted)
    copy_words(state + 8 * p.JOB, job, p.JOB_WORDS)
    atomic_store(state + 8 * p.DONE, 0)
    generation = (atomic_load(state + 8 * p.TICKET) >> 32) + 1
    atomic_store(state + 8 * p.TICKET, (generation << 32) | total)

    if worth_waking and awake < wanted:
        wake(state, wanted)
    ran = call_c(word(state, p.PIECES), state, -1)
    if ran == total:
        # Nobody helped, awake or not: perhaps because they wait for this very core.
        make_way(state, wanted)
        return True
    looks = 0
    while atomic_load(state + 8 * p.DONE) < total:
        pause()
        looks += 1
        if looks % p.LOOKS_BEFORE_DOUBT == 0:
            make_way(state, wanted)
    return True


def split(args, dimensions, steps, data):
    """One thread's share of a job under Numba's own threading layer."""
    job = job_words()
    copy_words(job, data, p.JOB_WORDS)
    copy_words(job + 8 * p.JOB_ARGS, args, word(job, p.JOB_OPERANDS))
    call_c(word(job, p.JOB_ELEMENTS), job, 0, word(dimensions, 0))


def run_numba_layer(state, job):
    """Run a job with the threads of Numba's own threading layer."""
    dimensions = two_words()
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


def share(state, job, nanoseconds):
    """Run a job on several threads; 0 if it has to be run serially, and nothing was done."""
    # A second thread that calls at the same moment does not queue.
    if not compare_and_swap(state + 8 * p.LOCK, 0, 1):
        return 0
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
    return 1 if shared else 0


def is_shared(state, job, nanoseconds):
    """Whether a job has been run on several threads."""
    if nanoseconds < p.AWAKE_NS or word(state, p.THREADS) < 2:
        return False
    return call_c(word(state, p.SHARE), state, job, nanoseconds) != 0


def row_step(steps, operands, with_rows, k):
    """The stride inside the rows of operand ``k``; 0 if it has none."""
    position = operands
    for j in range(k):
        position += (with_rows >> j) & 1
    return word(steps, position) if (with_rows >> k) & 1 == 1 else 0


def span_low(step, count, inner_step, row):
    """Where the memory of an operand begins, relative to its first element."""
    return smaller(step * (count - 1), 0) + smaller(inner_step * (row - 1), 0)


def span_high(step, count, inner_step, row):
    """Where its last element begins."""
    return larger(step * (count - 1), 0) + larger(inner_step * (row - 1), 0)


def large(args, dimensions, steps, kernel):
    """A call of many elements: split it if that gains time and cannot change the result."""
    count = word(dimensions, 0)
    state = word(kernel, p.KERNEL_STATE)
    operands = word(kernel, p.KERNEL_OPERANDS)
    outputs = word(kernel, p.KERNEL_OUTPUTS)
    with_rows = word(kernel, p.KERNEL_ROWS)
    itemsizes = kernel + 8 * p.KERNEL_ITEMSIZES
    row = word(dimensions, 1) if with_rows > 0 else 1
    first_out = operands - outputs
    job = job_words()
    copy_words(job + 8 * p.JOB_ARGS, args, operands)
    copy_words(job + 8 * p.JOB_STEPS, steps, operands)
    copied = operands
    for k in range(operands):
        if (with_rows >> k) & 1 == 1:
            set_word(job + 8 * p.JOB_STEPS, copied, word(steps, copied))
            copied += 1

    # An output must not overlap itself, another one, or an input other than element by element: the
    # serial loop gives the result of going from first to last, which pieces would not.
    independent = True
    in_place = False
    contiguous = with_rows == 0
    nbytes = item_bytes = 0
    for out in range(operands):
        start, step, itemsize = word(args, out), word(steps, out), word(itemsizes, out)
        inner_step = row_step(steps, operands, with_rows, out)
        # Elementwise, a step's bytes are what is fetched from memory, needed or not.
        bytes_each = itemsize * (row if (with_rows >> out) & 1 == 1 else 1)
        if with_rows == 0:
            bytes_each = magnitude(step)
        nbytes += bytes_each * count
        if out < first_out:
            continue
        item_bytes = larger(item_bytes, bytes_each)
        if magnitude(step) < magnitude(inner_step) * (row - 1) + itemsize and (
            inner_step == 0 or magnitude(inner_step) < magnitude(step) * (count - 1) + itemsize
        ):
            independent = False
        if step != itemsize or (start - word(args, first_out)) & (LINE - 1) != 0:
            contiguous = False
        low = start + span_low(step, count, inner_step, row)
        high = start + span_high(step, count, inner_step, row) + itemsize
        for k in range(out):
            k_start, k_step = word(args, k), word(steps, k)
            k_inner = row_step(steps, operands, with_rows, k)
            k_low = k_start + span_low(k_step, count, k_inner, row)
            k_high = k_start + span_high(k_step, count, k_inner, row) + word(itemsizes, k)
            if k_low < high and low < k_high:
                same = k_start == start and k_step == step and k_inner == inner_step
                if same and k < first_out:
                    in_place = True
                else:
                    independent = False
    stream = independent and not in_place and contiguous and nbytes >= word(state, p.STREAM_FROM)
    set_word(job, p.JOB_LOOP, word(kernel, p.KERNEL_LOOP))
    set_word(job, p.JOB_ELEMENTS, word(state, p.ELEMENTS))
    set_word(job, p.JOB_OPERANDS, operands)
    set_word(job, p.JOB_OUTPUTS, outputs)
    set_word(job, p.JOB_COUNT, count)
    set_word(job, p.JOB_ROW, row)
    set_word(job, p.JOB_ITEM_BYTES, larger(1, item_bytes))
    # Long rows one by one; otherwise no two threads write to one cache line.
    grain = LINE if with_rows == 0 else p.SHORT_ROWS
    set_word(job, p.JOB_GRAIN, 1 if magnitude(word(steps, first_out)) >= p.LONG_ROW else grain)
    set_word(job, p.JOB_STREAM, 1 if stream else 0)
    set_word(job, p.JOB_FLOAT_STATE, float_state())

    cost = row * word(kernel, p.KERNEL_COST) + word(kernel, p.KERNEL_ROW_COST)
    nanoseconds = count * cost // 1000
    if nbytes > p.CACHED_BYTES:
        nanoseconds += nbytes * p.UNCACHED_COST // 1000
    if independent and is_shared(state, job, nanoseconds):
        return
    call_c(word(state, p.ELEMENTS), job, 0, count)


def call(kernel, elements, args, dimensions, steps):
    # Comparing with NaN, or a product that is then discarded, sets flags that NumPy would report
    # as a RuntimeWarning.
    flags = float_state()
    function = word(kernel, p.KERNEL_LOOP)
    if elements >= word(kernel, p.KERNEL_LARGE_FROM):
        # 0 in a child that was forked behind Python's back: its copy of the state is empty.
        function = word(word(kernel, p.KERNEL_STATE), p.LARGE) or function
    call_loop(function, args, dimensions, steps, kernel)
    set_float_state(flags)


def driver(args, dimensions, steps, kernel):
    """The inner loop that NumPy calls; the last argument is the address of a kernel's record."""
    call(kernel, word(dimensions, 0), args, dimensions, steps)


def row_driver(args, dimensions, steps, kernel):
    """The same for kernels over rows."""
    call(kernel, word(dimensions, 0) * word(dimensions, 1), args, dimensions, steps)


# --- blocks of a matrix -------------------------------------------------------------------------


def describe(call, kernel, args, dimensions, steps):
    """What a kernel over blocks needs to know of a call; the number of blocks.

    The operands: matrices, the vector, room for the blocks' sums if there are any, parameters if
    there are any, the output, a matrix, and the sums. Their strides in that order are the steps,
    and then those of their dimensions.
    """
    matrices = word(kernel, p.KERNEL_OPERANDS)
    by_rows = word(kernel, p.KERNEL_BY_ROWS) != 0
    itemsize = word(kernel, p.KERNEL_ITEMSIZES)
    summed, with_parameters = word(kernel, p.KERNEL_SUMMED), word(kernel, p.KERNEL_PARAMETERS)
    inputs = matrices - 1
    operands = matrices + 1 + 2 * summed + with_parameters
    rows, columns = word(dimensions, 1), word(dimensions, 2)
    # Few rows have wider blocks.
    width = p.BLOCK_ELEMENTS // larger(1, rows) // p.BLOCK_COLUMNS * p.BLOCK_COLUMNS
    width = smaller(columns, larger(width, p.BLOCK_COLUMNS))
    height = larger(1, p.BLOCK_ELEMENTS // larger(1, width))
    if summed != 0:
        # The caller has decided how many sums there are of each column, or row.
        sums = larger(1, word(dimensions, 3))
        if by_rows:
            width = (columns + sums - 1) // sums
            height = larger(1, p.BLOCK_ELEMENTS // larger(1, width))
        else:
            height = (rows + sums - 1) // sums
    set_word(call, p.CALL_ROWS, rows)
    set_word(call, p.CALL_COLUMNS, columns)
    set_word(call, p.CALL_HEIGHT, height)
    set_word(call, p.CALL_WIDTH, width)
    across = (columns + width - 1) // larger(1, width)
    down = (rows + height - 1) // larger(1, height)
    set_word(call, p.CALL_ACROSS, across)
    set_word(call, p.CALL_SUMMED, across if by_rows else down)
    set_word(call, p.CALL_VECTOR, word(args, inputs))
    after = operands + 2 * inputs + 1
    if summed != 0:
        # The sums of one block are the total.
        total = word(args, operands - 1)
        one = (across if by_rows else down) == 1
        set_word(call, p.CALL_SUMS, total if one else word(args, inputs + 1))
        set_word(call, p.CALL_SUMS_STEP, word(steps, after))
        set_word(call, p.CALL_TOTAL, total)
        after += 2
    if with_parameters != 0:
        set_word(call, p.CALL_PARAMETERS, word(args, inputs + 1 + summed))
        after += 1
    out = word(args, operands - 1 - summed)
    out_step = word(steps, after)
    aligned = (out | out_step) & 15 == 0
    for k in range(inputs):
        start = word(args, k)
        set_word(call, p.CALL_MATRICES + 2 * k, start)
        set_word(call, p.CALL_MATRICES + 2 * k + 1, word(steps, operands + 2 * k))
        if start == out:
            aligned = False
    set_word(call, p.CALL_MATRICES + 2 * inputs, out)
    set_word(call, p.CALL_MATRICES + 2 * inputs + 1, out_step)
    large = rows * columns * itemsize * matrices >= word(
        word(kernel, p.KERNEL_STATE), p.STREAM_FROM
    )
    # In a child forked behind Python's back STREAM_FROM is 0.
    threads = word(word(kernel, p.KERNEL_STATE), p.THREADS)
    set_word(call, p.CALL_STREAMED, 1 if large and aligned and threads > 0 else 0)
    return across * down


def add_up(call, itemsize, count):
    """The total of the blocks' sums, taken in float64. Both are contiguous but for blocks."""
    totals = tile_bytes()
    first, step = word(call, p.CALL_SUMS), word(call, p.CALL_SUMS_STEP)
    for start in range(0, count, p.TILE_BYTES // 8):
        part = smaller(count - start, p.TILE_BYTES // 8)
        for j in range(part):
            set_word(totals, j, 0)
        for block in range(word(call, p.CALL_SUMMED)):
            sums = first + block * step + start * itemsize
            if itemsize == 8:
                for j in range(0, part & -8, 8):
                    add_eight_float64(totals + 8 * j, sums + 8 * j)
                for j in range(part & -8, part):
                    add_float64(totals + 8 * j, sums + 8 * j)
            else:
                for j in range(0, part & -8, 8):
                    add_eight_float32(totals + 8 * j, sums + 4 * j)
                for j in range(part & -8, part):
                    add_float32(totals + 8 * j, sums + 4 * j)
        out = word(call, p.CALL_TOTAL) + start * itemsize
        if itemsize == 8:
            copy_words(out, totals, part)
        else:
            for j in range(part):
                set_float32(out + 4 * j, totals + 8 * j)


def block_driver(args, dimensions, steps, kernel):
    """The inner loop that NumPy calls for kernels over blocks of a matrix."""
    flags = float_state()
    state = word(kernel, p.KERNEL_STATE)
    call = call_words()
    count = describe(call, kernel, args, dimensions, steps)
    elements = word(call, p.CALL_ROWS) * word(call, p.CALL_COLUMNS)
    job = job_words()
    set_word(job, p.JOB_LOOP, word(kernel, p.KERNEL_LOOP))
    set_word(job, p.JOB_ELEMENTS, word(state, p.ELEMENTS))
    set_word(job, p.JOB_OPERANDS, 2)
    set_word(job, p.JOB_OUTPUTS, 1)
    set_word(job, p.JOB_COUNT, count)
    set_word(job, p.JOB_ROW, p.PIECE_ROW_ELEMENTS)
    set_word(job, p.JOB_ITEM_BYTES, p.PIECE_BYTES)
    set_word(job, p.JOB_GRAIN, 1)
    set_word(job, p.JOB_STREAM, 0)
    set_word(job, p.JOB_FLOAT_STATE, flags)
    # The first operand of the job is the number of the block.
    set_word(job, p.JOB_ARGS, 0)
    set_word(job, p.JOB_STEPS, 1)
    set_word(job, p.JOB_ARGS + 1, call)
    set_word(job, p.JOB_STEPS + 1, 0)
    nbytes = elements * word(kernel, p.KERNEL_ITEMSIZES) * word(kernel, p.KERNEL_OPERANDS)
    nanoseconds = elements * word(kernel, p.KERNEL_COST) // 1000
    if nbytes > p.CACHED_BYTES:
        nanoseconds += nbytes * p.UNCACHED_COST // 1000
    if count > 0 and (count == 1 or not is_shared(state, job, nanoseconds)):
        one = two_words()
        set_word(one, 0, count)
        loop = word(kernel, p.KERNEL_LOOP)
        call_loop(loop, job + 8 * p.JOB_ARGS, one, job + 8 * p.JOB_STEPS, 0)
    if word(kernel, p.KERNEL_SUMMED) != 0 and word(call, p.CALL_SUMMED) != 1:
        by_rows = word(kernel, p.KERNEL_BY_ROWS) != 0
        sums = word(call, p.CALL_ROWS if by_rows else p.CALL_COLUMNS)
        add_up(call, word(kernel, p.KERNEL_ITEMSIZES), sums)
    set_float_state(flags)
