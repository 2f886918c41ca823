"""The machine code of the recycling allocator: NumPy calls it for the data of every array.

``malloc``, ``calloc``, ``realloc`` and ``free`` have the signatures of NumPy's data-allocation hook
(NEP 49). Small requests are passed on to NumPy's default allocator. Large ones get a *block*: pages
of their own, with a header in front of the data. A block that is freed is retained, and handed out
again with its pages still there; blocks beyond the bound, or idle for too long, go back to the
system, the oldest first.

The size that NumPy passes to ``free`` need not be the one it asked for (NEP 49 has an example), so
what belongs to whom is told by the header. The data of a block begin in the middle of a page, so
that looking for a header in front of whatever might be a block stays inside that page.

Nobody waits. The lock is held for some 20 ns; a thread that finds it taken for much longer (the
system took its holder's CPU away, or the process was forked at that moment) maps and unmaps its
blocks itself. All values are integers (see ``fastact.cpu.integers``).
"""

from __future__ import annotations

from fastact.cpu.threads import create_thread, larger, now, smaller, two_words
from fastact.cpu.words import (
    atomic_add,
    atomic_load,
    atomic_store,
    call_c,
    compare_and_swap,
    pause,
    set_word,
    word,
)
from fastact.memory import layout as p

# --- the lock -----------------------------------------------------------------------------------


def locked(state):
    """Take the lock; False if it could not be had soon."""
    for _ in range(p.ATTEMPTS):
        if compare_and_swap(state + 8 * p.LOCK, 0, 1):
            return True
        pause()
    return False


def unlock(state):
    atomic_store(state + 8 * p.LOCK, 0)


def hold(state):
    """Take the lock for a fork; 1 if it could be had."""
    return 1 if locked(state) else 0


def let_go(state):
    """Give the lock back."""
    unlock(state)
    return 0


# --- sizes --------------------------------------------------------------------------------------


def class_of(size):
    """The class of blocks for ``size`` bytes."""
    bit = p.SMALLEST_BIT - 1
    while (2 << bit) < size:
        bit += 1
    step_bit = bit - p.CLASSES_BIT
    steps = (size - (1 << bit) + (1 << step_bit) - 1) >> step_bit
    return ((bit - p.SMALLEST_BIT + 1) << p.CLASSES_BIT) + larger(steps, 1) - 1


def capacity_of(class_):
    """Bytes for data in blocks of a class."""
    bit = p.SMALLEST_BIT - 1 + (class_ >> p.CLASSES_BIT)
    steps = (class_ & ((1 << p.CLASSES_BIT) - 1)) + 1
    return (1 << bit) + (steps << (bit - p.CLASSES_BIT))


def mapped_bytes(capacity):
    return (capacity + p.HEADER_BYTES + p.PAGE - 1) & -p.PAGE


# --- blocks and the system ----------------------------------------------------------------------


def is_block(pointer):
    """Whether the data at ``pointer`` are those of a block that was handed out."""
    if pointer & (p.PAGE - 1) != p.HEADER_BYTES:
        return False
    return word(pointer - p.HEADER_BYTES, p.MAGIC) == p.MAGIC_NUMBER ^ pointer


def map_pages(state, nbytes):
    """The address of fresh pages, 0 if there are none."""
    flags = word(state, p.MAP_FLAGS)
    address = call_c(word(state, p.MMAP), 0, nbytes, p.PROT_READ_WRITE, flags, -1, 0)
    return 0 if address == -1 else address


def unmap_pages(state, address, nbytes):
    if nbytes > 0:
        call_c(word(state, p.MUNMAP), address, nbytes)


def fresh_block(state, capacity):
    """A new block, 0 if the system has no memory left."""
    nbytes = mapped_bytes(capacity)
    if word(state, p.HUGE) == 0 or nbytes < p.HUGE_FROM:
        block = map_pages(state, nbytes)
    else:
        # Only aligned huge pages are given. The first one begins behind the page with the header,
        # so that nothing of it is needed before the data are.
        start = map_pages(state, nbytes + p.HUGE_PAGE)
        block = 0
        if start != 0:
            block = ((start + p.PAGE + p.HUGE_PAGE - 1) & -p.HUGE_PAGE) - p.PAGE
            unmap_pages(state, start, block - start)
            unmap_pages(state, block + nbytes, start + p.HUGE_PAGE - block)
            call_c(word(state, p.MADVISE), block, nbytes, p.MADV_HUGEPAGE)
    if block != 0:
        set_word(block, p.CAPACITY, capacity)
        atomic_add(state + 8 * p.MAPPED, 1)
    return block


def release(state, chain):
    """Unmap a chain of blocks."""
    while chain != 0:
        block = chain
        chain = word(block, p.NEXT)
        unmap_pages(state, block, mapped_bytes(word(block, p.CAPACITY)))
        atomic_add(state + 8 * p.RELEASED, 1)


# --- free blocks: with the lock held ------------------------------------------------------------


def detach(state, block):
    """Take a free block out of both lists."""
    capacity = word(block, p.CAPACITY)
    next_, previous = word(block, p.NEXT), word(block, p.PREVIOUS)
    older, newer = word(block, p.OLDER), word(block, p.NEWER)
    if next_ != 0:
        set_word(next_, p.PREVIOUS, previous)
    if previous != 0:
        set_word(previous, p.NEXT, next_)
    else:
        set_word(state, p.FREE_LISTS + class_of(capacity), next_)
    if older != 0:
        set_word(older, p.NEWER, newer)
    else:
        set_word(state, p.OLDEST, newer)
    if newer != 0:
        set_word(newer, p.OLDER, older)
    else:
        set_word(state, p.NEWEST, older)
    atomic_add(state + 8 * p.RETAINED_BYTES, -capacity)
    atomic_add(state + 8 * p.RETAINED_BLOCKS, -1)


def attach(state, block, time):
    """Put a block into both lists."""
    capacity = word(block, p.CAPACITY)
    head = state + 8 * (p.FREE_LISTS + class_of(capacity))
    next_, older = word(head, 0), word(state, p.NEWEST)
    set_word(block, p.MAGIC, 0)
    set_word(block, p.FREED_AT, time)
    set_word(block, p.NEXT, next_)
    set_word(block, p.PREVIOUS, 0)
    set_word(block, p.OLDER, older)
    set_word(block, p.NEWER, 0)
    if next_ != 0:
        set_word(next_, p.PREVIOUS, block)
    set_word(head, 0, block)
    if older != 0:
        set_word(older, p.NEWER, block)
    else:
        set_word(state, p.OLDEST, block)
    set_word(state, p.NEWEST, block)
    atomic_add(state + 8 * p.RETAINED_BYTES, capacity)
    atomic_add(state + 8 * p.RETAINED_BLOCKS, 1)


def evict(state, room, before):
    """Detach the oldest blocks, until ``room`` bytes fit below the bound and the rest were freed
    later than ``before``; returns them as a chain."""
    chain = 0
    block = word(state, p.OLDEST)
    while block != 0:
        fits = word(state, p.RETAINED_BYTES) + room <= word(state, p.MAX_BYTES)
        if fits and word(block, p.FREED_AT) > before:
            break
        newer = word(block, p.NEWER)
        detach(state, block)
        set_word(block, p.NEXT, chain)
        chain = block
        block = newer
    return chain


def give_back(state, before):
    chain = 0
    if locked(state):
        chain = evict(state, 0, before)
        unlock(state)
    release(state, chain)


def trim(state, before):
    """Give back what is beyond the bound, and what was freed before a time."""
    give_back(state, before)
    return 0


# --- what NumPy calls ---------------------------------------------------------------------------


def retained_block(state, class_):
    """A free block of a class, 0 if there is none."""
    head = state + 8 * (p.FREE_LISTS + class_)
    block = 0
    if word(head, 0) != 0 and locked(state):
        block = word(head, 0)
        if block != 0:
            detach(state, block)
        unlock(state)
    if block != 0:
        atomic_add(state + 8 * p.REUSED, 1)
    return block


def new_block(state, capacity):
    """A fresh block, if need be at the cost of all that are retained."""
    block = fresh_block(state, capacity)
    if block == 0 and word(state, p.RETAINED_BLOCKS) != 0:
        give_back(state, p.END_OF_TIME)
        block = fresh_block(state, capacity)
    return block


def handed_out(state, block):
    """The data of a block that is in use from now on; 0 if there is no block."""
    if block == 0:
        return 0
    pointer = block + p.HEADER_BYTES
    set_word(block, p.MAGIC, p.MAGIC_NUMBER ^ pointer)
    atomic_add(state + 8 * p.USED_BYTES, word(block, p.CAPACITY))
    atomic_add(state + 8 * p.USED_BLOCKS, 1)
    return pointer


def zero(state, block, size):
    """Zero the data of a recycled block."""
    data, beyond = block + p.HEADER_BYTES, block + p.PAGE
    rest = mapped_bytes(word(block, p.CAPACITY)) - p.PAGE
    memset, madvise = word(state, p.MEMSET), word(state, p.MADVISE)
    if size > word(state, p.ZERO_UP_TO):
        call_c(memset, data, 0, p.PAGE - p.HEADER_BYTES)
        failed = call_c(madvise, beyond, rest, p.MADV_DONTNEED) & 0xFFFFFFFF
        if failed == 0:  # it fails on locked memory
            return
    call_c(memset, data, 0, size)


def allocated(state, size):
    """Memory of this size, from NumPy's default allocator if it cannot be a block."""
    if size >= p.SMALLEST and size <= (1 << p.LARGEST_BIT):
        class_ = class_of(size)
        block = retained_block(state, class_)
        if block == 0:
            block = new_block(state, capacity_of(class_))
        if block != 0:
            return handed_out(state, block)
    default = word(state, p.DEFAULT_MALLOC)
    return call_c(default, word(state, p.DEFAULT_CONTEXT), size)


def malloc(state, size):
    return allocated(state, size)


def calloc(state, count, itemsize):
    limit = 1 << p.LARGEST_BIT
    fits = itemsize > 0 and count >= 0 and count <= limit // itemsize
    if fits and count * itemsize >= p.SMALLEST:
        size = count * itemsize
        class_ = class_of(size)
        block = retained_block(state, class_)
        if block != 0:
            zero(state, block, size)
        else:
            block = new_block(state, capacity_of(class_))
        if block != 0:
            return handed_out(state, block)
    default = word(state, p.DEFAULT_CALLOC)
    return call_c(default, word(state, p.DEFAULT_CONTEXT), count, itemsize)


def moved_block(state, block, old, capacity):
    """A block that is in use, with another capacity: the system moves pages, not what is in them.

    0 if that cannot be had; then the block is as it was.
    """
    function, nbytes = word(state, p.MREMAP), mapped_bytes(capacity)
    moved = call_c(function, block, mapped_bytes(old), nbytes, p.MREMAP_MAYMOVE)
    if moved == -1:
        give_back(state, p.END_OF_TIME)
        moved = call_c(function, block, mapped_bytes(old), nbytes, p.MREMAP_MAYMOVE)
    if moved == -1:
        return 0
    # The magic number holds for one address; handing out adds the new capacity.
    atomic_add(state + 8 * p.USED_BYTES, -old)
    atomic_add(state + 8 * p.USED_BLOCKS, -1)
    set_word(moved, p.CAPACITY, capacity)
    return moved


def realloc(state, pointer, size):
    if not is_block(pointer):
        default = word(state, p.DEFAULT_REALLOC)
        return call_c(default, word(state, p.DEFAULT_CONTEXT), pointer, size)
    if size < 0 or size > (1 << p.LARGEST_BIT):
        return 0
    block = pointer - p.HEADER_BYTES
    old = word(block, p.CAPACITY)
    capacity = capacity_of(class_of(larger(size, p.SMALLEST)))
    if capacity <= old and 2 * capacity > old:
        return pointer
    if word(state, p.MREMAP) != 0:
        moved = moved_block(state, block, old, capacity)
        if moved != 0:
            return handed_out(state, moved)
    copy = allocated(state, size)
    if copy != 0:
        call_c(word(state, p.MEMCPY), copy, pointer, smaller(old, size))
        take_back(state, block)
    return copy


def take_back(state, block):
    """A block is in use no more."""
    capacity = word(block, p.CAPACITY)
    atomic_add(state + 8 * p.USED_BYTES, -capacity)
    atomic_add(state + 8 * p.USED_BLOCKS, -1)
    idle = word(state, p.IDLE_NS)
    chain = 0
    if capacity <= word(state, p.MAX_BYTES) and locked(state):
        time = now(word(state, p.CLOCK_GETTIME))
        chain = evict(state, capacity, time - idle)
        attach(state, block, time)
        wanted = word(state, p.REAPER) == p.REAPER_NONE and word(state, p.REAPER_FUNCTION) != 0
        if wanted:
            set_word(state, p.REAPER, p.REAPER_STARTING)
        unlock(state)
        if wanted:
            run_reaper(state)
    else:
        set_word(block, p.MAGIC, 0)
        set_word(block, p.NEXT, 0)
        chain = block
    release(state, chain)


def free(state, pointer, size):
    if is_block(pointer):
        take_back(state, pointer - p.HEADER_BYTES)
        return 0
    default = word(state, p.DEFAULT_FREE)
    return call_c(default, word(state, p.DEFAULT_CONTEXT), pointer, size)


# --- the reaper ---------------------------------------------------------------------------------


def reaper(state):
    """A thread that gives idle blocks back, and ends when there are none left."""
    atomic_store(state + 8 * p.REAPER, p.REAPER_RUNNING)
    timeout = two_words()
    while atomic_load(state + 8 * p.STOP) == 0:
        idle = word(state, p.IDLE_NS)
        interval = larger(idle // p.LOOKS, 10_000_000)
        set_word(timeout, 0, interval // 1_000_000_000)
        set_word(timeout, 1, interval % 1_000_000_000)
        futex, stop = word(state, p.FUTEX), state + 8 * p.STOP
        call_c(word(state, p.SYSCALL), futex, stop, p.FUTEX_WAIT, 0, timeout)
        if atomic_load(stop) == 0 and locked(state):
            chain = evict(state, 0, now(word(state, p.CLOCK_GETTIME)) - idle)
            if word(state, p.OLDEST) == 0:
                # Whoever frees the next block starts the next reaper, and joins this thread.
                set_word(state, p.REAPER, p.REAPER_NONE)
                unlock(state)
                release(state, chain)
                return 0
            unlock(state)
            release(state, chain)
    return 0


def run_reaper(state):
    """Start the thread; the caller has set REAPER to STARTING with the lock held."""
    thread = state + 8 * p.REAPER_THREAD
    if word(thread, 0) != 0:
        call_c(word(state, p.PTHREAD_JOIN), word(thread, 0), 0)
        set_word(thread, 0, 0)
    create, set_mask = word(state, p.PTHREAD_CREATE), word(state, p.PTHREAD_SIGMASK)
    if not create_thread(create, set_mask, thread, word(state, p.REAPER_FUNCTION), state):
        set_word(thread, 0, 0)
        atomic_store(state + 8 * p.REAPER, p.REAPER_NONE)


def start_reaper(state):
    """Start the reaper again after a fork, if there is something to look after."""
    if locked(state):
        wanted = (
            word(state, p.OLDEST) != 0
            and word(state, p.REAPER) == p.REAPER_NONE
            and word(state, p.REAPER_FUNCTION) != 0
        )
        if wanted:
            set_word(state, p.REAPER, p.REAPER_STARTING)
        unlock(state)
        if wanted:
            run_reaper(state)
    return 0
