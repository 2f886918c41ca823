"""What the pool and the compiled driver agree on: tuned constants, and the memory that they share.

Memory is laid out in words of eight bytes; the names are positions of words.
"""

from __future__ import annotations

# --- tuned constants: what was measured is in docs/tuning.md -----------------------------------

#: Serial time in ns from which a call is shared with workers that are awake. Calls that take less
#: go straight to the serial loop.
AWAKE_NS = 3_000
#: Serial time in ns from which sleeping workers are woken. A wake-up costs the caller 15 to 20 us
#: in a virtual machine.
WAKE_NS = 60_000
#: Serial time in ns that each worker should have to itself.
SHARE_NS = 15_000
#: How long a worker spins after a job before it sleeps.
SPIN_NS = 50_000
#: Serial time in ns from which Numba's layer is used. It cannot tell workers awake from asleep, and
#: its barrier was seen to wait 5 ms after a pause (GNU OpenMP), so a call must have much to gain.
NUMBA_LAYER_NS = 1_000_000
#: Pieces per thread, and limits on their size; elements of rows take longer.
PIECES_PER_THREAD = 4
PIECE_ELEMENTS = 4096
PIECE_ROW_ELEMENTS = 1024
PIECE_BYTES = 1 << 20
#: Memory traffic from which an array counts as out of the core's own cache, and its extra cost in
#: picoseconds per byte.
CACHED_BYTES = 1 << 19
UNCACHED_COST = 20
#: Rows of an output that are at least LONG_ROW bytes apart are handed to threads one by one, others
#: SHORT_ROWS at a time.
LONG_ROW = 4096
SHORT_ROWS = 16
#: Bytes of the tile that non-temporal stores are staged in. Less than a page, or a function's stack
#: frame would need Windows' __chkstk, which is not at hand.
TILE_BYTES = 2048
#: Blocks of fused kernels: elements, about; columns; rows that share the sums of their columns, at
#: least; and columns where the sums are those of rows.
BLOCK_ELEMENTS = 16384
BLOCK_COLUMNS = 1024
BLOCK_ROWS = 64
BLOCK_SUMMED_COLUMNS = 4096
PAUSES_PER_LOOK = 1
#: Looks at an unfinished job until the caller asks whether the worker waits for the caller's core.
LOOKS_BEFORE_DOUBT = 200

# --- layout -------------------------------------------------------------------------------------

MAX_OPERANDS = 12
MAX_WORKERS = 255

# A kernel: the record that a ufunc's loop gets as ``data``. COST: picoseconds per element, to which
# ROW_COST is added for each row; LARGE_FROM: elements from which a call may be worth sharing;
# OPERANDS: inputs, then OUTPUTS; ROWS: a bit for each operand that has rows, not elements (see
# ``driver``), 0 if none has.
KERNEL_LOOP, KERNEL_STATE, KERNEL_COST, KERNEL_LARGE_FROM = range(4)
KERNEL_OPERANDS, KERNEL_OUTPUTS, KERNEL_ROWS, KERNEL_ROW_COST, KERNEL_ITEMSIZES = range(4, 9)
KERNEL_WORDS = KERNEL_ITEMSIZES + MAX_OPERANDS

# A kernel over blocks of a matrix: what other kernels have in the same places means nothing for it.
# OPERANDS are the matrices, with the output. BY_ROWS: vector and sums have a number for each row.
KERNEL_BY_ROWS, KERNEL_SUMMED, KERNEL_PARAMETERS = range(KERNEL_ITEMSIZES + 1, KERNEL_ITEMSIZES + 4)

# A call of such a kernel: the matrix' size, the size of its blocks, how many are side by side;
# where parameters, vector, the blocks' sums and their total are; whether the output is to be stored
# past the cache; of how many blocks (SUMMED) the total is; then, from MATRICES on, two words for
# each matrix, inputs first: address, and bytes from row to row.
CALL_ROWS, CALL_COLUMNS, CALL_HEIGHT, CALL_WIDTH, CALL_ACROSS = range(5)
CALL_PARAMETERS, CALL_VECTOR, CALL_SUMS, CALL_SUMS_STEP, CALL_STREAMED = range(5, 10)
CALL_TOTAL, CALL_SUMMED, CALL_MATRICES = range(10, 13)
CALL_WORDS = CALL_MATRICES + 2 * MAX_OPERANDS

# The pool's state. What is written by one side and polled by another has a cache line to itself.
THREADS, LAYER, STREAM_FROM, CREATED = range(4)
LARGE, ELEMENTS, PIECES, WORKER_FUNCTION = range(4, 8)
SYSCALL, FUTEX, SCHED_GETCPU, SCHED_YIELD = range(8, 12)
PTHREAD_CREATE, PTHREAD_SIGMASK, PTHREAD_SETAFFINITY, CLOCK_GETTIME = range(12, 16)
PARALLEL_FOR, SPLIT_FUNCTION, BURST_NS, BURST_ENDED, SHARE = range(16, 21)
STOP, LOCK, TICKET, DONE, AWAKE = range(24, 64, 8)
JOB = 64
JOB_LOOP, JOB_OPERANDS, JOB_COUNT, JOB_PIECE, JOB_STREAM, JOB_WORKERS, JOB_FLOAT_STATE = range(7)
JOB_ELEMENTS, JOB_OUTPUTS, JOB_ROW, JOB_GRAIN, JOB_ITEM_BYTES = range(7, 12)
JOB_ARGS = 12
JOB_STEPS = JOB_ARGS + MAX_OPERANDS
JOB_WORDS = JOB_STEPS + MAX_OPERANDS
CPU_MASK = 104
assert JOB + JOB_WORDS <= CPU_MASK
CPU_MASK_BYTES = 128
WORKERS = 120
WORKER_ASLEEP, WORKER_STATE, WORKER_NUMBER, WORKER_THREAD, WORKER_EXCLUDED, WORKER_CPU = range(6)
WORKER_WORDS = 8
STATE_WORDS = WORKERS + MAX_WORKERS * WORKER_WORDS

LAYER_SERIAL, LAYER_POOL, LAYER_NUMBA = range(3)
LAYERS = {"serial": LAYER_SERIAL, "pool": LAYER_POOL, "numba": LAYER_NUMBA}

FUTEX_WAIT, FUTEX_WAKE = 128, 129  # both "private": within this process
SIG_SETMASK = 2
CLOCK_MONOTONIC = 1
SIGNAL_SET_WORDS = 16
