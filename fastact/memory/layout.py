"""What the recycling allocator in Python and its machine code agree on.

As in ``layout``, memory is laid out in words of eight bytes, and names are positions of words.
"""

from __future__ import annotations

from fastact.cpu.layout import FUTEX_WAIT

__all__ = ["FUTEX_WAIT", "SMALLEST", "STATE_WORDS"]

# --- tuned constants: what was measured is in docs/memory.md ------------------------------------

#: Requests of fewer bytes are left to NumPy.
SMALLEST_BIT = 16
SMALLEST = 1 << SMALLEST_BIT
#: Sizes are rounded up to one of 2^CLASSES_BIT per power of two: at most 1/8 of a block is unused,
#: and memory that is not used is not resident until it is.
CLASSES_BIT = 3
#: Zeros up to this size are written into a recycled block. The pages of a larger one are given
#: back, so that those which are never touched cost nothing, as in a fresh array.
ZERO_BYTES = 1 << 24
#: From this size on the system is asked for huge pages, which is NumPy's limit, too.
HUGE_FROM = 1 << 22
HUGE_PAGE = 1 << 21
#: Attempts to take the lock. It is held for some 20 ns; who does not get it goes to the system.
ATTEMPTS = 200
#: Looks for blocks that have been idle too long, in one idle time.
LOOKS = 4

# --- layout -------------------------------------------------------------------------------------

#: Requests from this size on are left to NumPy, which refuses them.
LARGEST_BIT = 46
CLASSES = (LARGEST_BIT - SMALLEST_BIT + 1) << CLASSES_BIT

# A block: this header, then the data. Free blocks are in two lists: all of one class, the last one
# freed first, and all there are, by the time when they were freed.
MAGIC, CAPACITY, NEXT, PREVIOUS, OLDER, NEWER, FREED_AT = range(7)
#: Half a page, because of arrays that are no blocks, whose data begin 16 bytes into a page. A load
#: waits for stores shortly before it whose address has the same place in a page.
HEADER_BYTES = 2048
PAGE = 4096
#: In a block that was handed out, MAGIC is this, xor the address of the data.
MAGIC_NUMBER = 0x5F4D6C2B7A19E3D1

# The state. What follows LOCK is changed with the lock held, except for the counters, which are
# atomic.
MAX_BYTES, IDLE_NS, HUGE, FUTEX = range(4)
MMAP, MUNMAP, MREMAP, MADVISE, MEMSET, MEMCPY, CLOCK_GETTIME, SYSCALL = range(4, 12)
MAP_FLAGS = 12
DEFAULT_CONTEXT, DEFAULT_MALLOC, DEFAULT_CALLOC, DEFAULT_REALLOC, DEFAULT_FREE = range(13, 18)
PTHREAD_CREATE, PTHREAD_SIGMASK, PTHREAD_JOIN, REAPER_FUNCTION, ZERO_UP_TO = range(18, 23)
LOCK = 24
OLDEST, NEWEST, REAPER, REAPER_THREAD, STOP = range(25, 30)
RETAINED_BYTES, RETAINED_BLOCKS, USED_BYTES, USED_BLOCKS, REUSED, MAPPED, RELEASED = range(32, 39)
FREE_LISTS = 40
STATE_WORDS = FREE_LISTS + CLASSES

REAPER_NONE, REAPER_STARTING, REAPER_RUNNING = range(3)

PROT_READ_WRITE = 3
MREMAP_MAYMOVE = 1
MADV_DONTNEED = 4
MADV_HUGEPAGE = 14
END_OF_TIME = (1 << 63) - 1
