//! An arena allocator for a hotplug call: one thread that allocates some hundred small blocks and ends.
//!
//! The C library's allocator takes a quarter of the instructions of such a call. Here a block comes from the free list of its size, or
//! else from the end of the used part: a dozen instructions, and few pages that are touched for the first time. The arena is bounded:
//! when it is full, and for large blocks, the C library's allocator takes over.
//!
//! Only the thread that called [`begin`] uses the arena. Other threads, and programs that never call `begin`, have the C library's
//! allocator. A block of the arena that another thread frees is lost; the bound limits that loss.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The allocator of the command.
#[derive(Debug)]
pub struct Allocator;

/// From now on this thread's small blocks come from the arena. The first thread that calls this gets it; for others nothing changes.
pub fn begin() {
    if !TAKEN.swap(true, Ordering::Relaxed) {
        ARENA.with(|arena| arena.end.set(SIZE));
        // glibc returns the top of its heap to the kernel when 128 KiB of it are free (`M_TRIM_THRESHOLD`), as they are after it has
        // listed a directory. This block keeps the top in use. It costs no memory, since nobody touches it.
        std::mem::forget(Vec::<u8>::with_capacity(2 * LARGEST));
    }
}

/// The size of the arena in bytes. Pages that nobody has touched take no memory of the machine.
const SIZE: usize = 512 * 1024;
/// The largest block; all are aligned as the first one.
const LARGEST: usize = 8 * 1024;
const ALIGN: usize = 16;
/// Up to there sizes are rounded up to a multiple of `ALIGN`, and from there to a multiple of `COARSE`.
const SMALL: usize = 1024;
const COARSE: usize = 256;
const LISTS: usize = SMALL / ALIGN + (LARGEST - SMALL) / COARSE;

#[repr(C, align(64))]
struct Memory(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

// SAFETY: only the one thread that has set its `ARENA.end` makes blocks of it; who has got one is its only owner.
#[expect(unsafe_code, reason = "a static has to be of a type that threads can share")]
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([const { MaybeUninit::uninit() }; SIZE]));
static TAKEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ARENA: Arena = const { Arena { used: Cell::new(0), end: Cell::new(0), lists: [const { Cell::new(ptr::null_mut()) }; LISTS] } };
}

/// A thread's state of the arena.
struct Arena {
    /// How many bytes from the start were ever allocated.
    used: Cell<usize>,
    /// How many bytes this thread may allocate: all or none.
    end: Cell<usize>,
    /// The free lists, by size. Each free block begins with the address of the next one.
    lists: [Cell<*mut u8>; LISTS],
}

/// The list of a size, from 1 to `LARGEST`, and how large its blocks are.
#[inline]
const fn list_of(size: usize) -> (usize, usize) {
    if size <= SMALL {
        let units = size.div_ceil(ALIGN);
        (units.wrapping_sub(1), units.wrapping_mul(ALIGN))
    } else {
        let units = size.div_ceil(COARSE);
        (units.wrapping_add(SMALL / ALIGN - SMALL / COARSE - 1), units.wrapping_mul(COARSE))
    }
}

#[inline]
const fn fits(size: usize, align: usize) -> bool {
    size <= LARGEST && align <= ALIGN
}

#[inline]
fn base() -> *mut u8 {
    MEMORY.0.get().cast()
}

/// Where a block lies in the memory; `SIZE` or more for a block that is not of it.
#[inline]
fn place(block: *mut u8) -> usize {
    block.addr().wrapping_sub(base().addr())
}

impl Arena {
    /// A block for this size, or null.
    #[inline]
    #[expect(unsafe_code, reason = "this is an allocator")]
    fn take(&self, size: usize) -> *mut u8 {
        let (list, rounded) = list_of(size);
        let Some(list) = self.lists.get(list) else { return ptr::null_mut() };
        let first = list.get();
        if !first.is_null() {
            // SAFETY: what stands in a list is a block of at least `ALIGN` bytes, aligned to as many, that nobody owns; `put` has
            // written a pointer at its beginning.
            list.set(unsafe { first.cast::<*mut u8>().read() });
            return first;
        }
        let used = self.used.get();
        if rounded > self.end.get().wrapping_sub(used) {
            return ptr::null_mut();
        }
        self.used.set(used.wrapping_add(rounded));
        // SAFETY: `used + rounded` is not more than `end`, which is 0 or the memory's size.
        unsafe { base().add(used) }
    }

    /// Takes a block back that `take` has made for this size, and that nobody uses any more.
    #[inline]
    #[expect(unsafe_code, reason = "this is an allocator")]
    fn put(&self, block: *mut u8, size: usize) {
        if self.end.get() == 0 {
            return;
        }
        let Some(list) = self.lists.get(list_of(size).0) else { return };
        // SAFETY: the block has at least `ALIGN` bytes, is aligned to as many, and is ours again.
        unsafe { block.cast::<*mut u8>().write(list.get()) };
        list.set(block);
    }

    /// Makes a block larger or smaller where it is: one of the same rounded size, or the last one that was made.
    #[inline]
    fn resize(&self, block: *mut u8, old: usize, new: usize) -> bool {
        let ((_, old), (_, new)) = (list_of(old), list_of(new));
        if old == new {
            return true;
        }
        let start = place(block);
        if start.wrapping_add(old) != self.used.get() || new > self.end.get().wrapping_sub(start) {
            return false;
        }
        self.used.set(start.wrapping_add(new));
        true
    }
}

#[expect(unsafe_code, reason = "the trait of allocators is unsafe")]
// JUSTIFICATION: there is no other way to say which allocator a program has, and the C library's takes a quarter of the
// instructions of a hotplug call.
// SAFETY: a block is either the C library's, or one of the arena, of at least the size that was asked for, aligned to 16 bytes,
// which is given out to nobody else until it is given back; by its address it is told which of the two, and goes back to where it
// came from. Nothing here can panic or asks for memory: the state of a thread is a constant without a destructor.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fits(layout.size(), layout.align()) {
            let block = ARENA.with(|arena| arena.take(layout.size()));
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if place(block) < SIZE {
            ARENA.with(|arena| arena.put(block, layout.size()));
        } else {
            // SAFETY: it is none of ours, so `System` has made it, with this layout.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fits(layout.size(), layout.align()) {
            let block = ARENA.with(|arena| arena.take(layout.size()));
            if !block.is_null() {
                // SAFETY: the block is at least as large.
                unsafe { block.write_bytes(0, layout.size()) };
                return block;
            }
        }
        // SAFETY: as the caller has promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if place(block) >= SIZE {
            // SAFETY: it is none of ours, so `System` has made it, with this layout.
            return unsafe { System.realloc(block, layout, size) };
        }
        if size <= LARGEST && ARENA.with(|arena| arena.resize(block, layout.size(), size)) {
            return block;
        }
        // SAFETY: the caller has promised that size and alignment make a layout.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks have that many bytes, and are two; the old one is not used any more.
            unsafe {
                ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        new
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "it calls an allocator")]
mod tests {
    use super::*;

    /// A block that a test has, and the byte that it was filled with.
    struct Block {
        at: *mut u8,
        layout: Layout,
        filled: u8,
    }

    impl Block {
        fn new(size: usize, filled: u8) -> Block {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            // SAFETY: no size here is 0, and the block is as large.
            let at = unsafe { Allocator.alloc(layout) };
            assert!(!at.is_null());
            assert!(at.addr().is_multiple_of(8));
            let block = Block { at, layout, filled };
            block.fill();
            block
        }

        fn fill(&self) {
            // SAFETY: the block is as large.
            unsafe { self.at.write_bytes(self.filled, self.layout.size()) };
        }

        fn check(&self, size: usize) {
            for at in 0..size {
                // SAFETY: the block is as large, and is filled.
                assert_eq!(unsafe { self.at.add(at).read() }, self.filled, "byte {at} of {:?}", self.layout);
            }
        }

        fn resize(&mut self, size: usize) {
            // SAFETY: the block is the allocator's, of this layout, and the size is not 0.
            self.at = unsafe { Allocator.realloc(self.at, self.layout, size) };
            assert!(!self.at.is_null());
            self.check(size.min(self.layout.size()));
            self.layout = Layout::from_size_align(size, 8).expect("a layout");
            self.fill();
        }

        fn give_back(self) {
            self.check(self.layout.size());
            // SAFETY: the block is the allocator's, of this layout, and goes.
            unsafe { Allocator.dealloc(self.at, self.layout) }
        }
    }

    #[test]
    fn each_size_has_a_list_and_fits_in_its_blocks() {
        let mut before = (0, ALIGN);
        for size in 1..=LARGEST {
            let (list, rounded) = list_of(size);
            assert!(rounded >= size && rounded.is_multiple_of(ALIGN) && list < LISTS, "{size}: {list}, {rounded}");
            // A list has blocks of one size.
            assert!((list, rounded) == before || (list == before.0 + 1 && rounded > before.1), "{size}");
            before = (list, rounded);
        }
        assert_eq!(before, (LISTS - 1, LARGEST));
    }

    /// One test, since one thread has the arena.
    #[test]
    fn blocks_do_not_overlap_and_the_memory_is_bounded() {
        let early = Block::new(40, 1);
        assert!(place(early.at) >= SIZE, "before it has begun all is the C library's");
        begin();
        // It goes back to where it came from.
        early.give_back();

        // What was given back is given out again, to the same size.
        let first = Block::new(40, 2);
        let at = first.at;
        assert!(place(at) < SIZE);
        first.give_back();
        let other = Block::new(200, 3);
        assert_ne!(other.at, at);
        let again = Block::new(33, 4);
        assert_eq!(again.at, at);
        again.give_back();
        other.give_back();

        // The last block grows where it is; one within its rounded size does, too.
        let mut grows = Block::new(3000, 5);
        let at = grows.at;
        grows.resize(5000);
        grows.resize(5001);
        assert_eq!(grows.at, at);
        let behind = Block::new(5001, 6);
        grows.resize(6000);
        assert_ne!(grows.at, at);
        // And out of the arena, where it stays.
        grows.resize(LARGEST + 1);
        assert!(place(grows.at) >= SIZE);
        grows.resize(10);
        grows.give_back();
        behind.give_back();

        // Zeroed memory is zeroed where it was used before, too.
        let layout = Layout::from_size_align(5001, 16).expect("a layout");
        // SAFETY: the size is not 0; what is read was zeroed; the block goes back with its layout.
        unsafe {
            let zeroed = Allocator.alloc_zeroed(layout);
            assert!((0..5001).all(|at| zeroed.add(at).read() == 0));
            Allocator.dealloc(zeroed, layout);
        }

        // Blocks of all sizes in a random order, more than fit at once.
        let mut random = 1u32;
        let mut next = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize % below
        };
        let mut blocks: Vec<Block> = Vec::new();
        let rounds = if cfg!(miri) { 300 } else { 20_000 };
        for round in 0..rounds {
            let size = if next(8) == 0 { 1 + next(LARGEST + 2000) } else { 1 + next(600) };
            match next(6) {
                0 | 1 if !blocks.is_empty() => blocks.swap_remove(next(blocks.len())).give_back(),
                2 if !blocks.is_empty() => {
                    let at = next(blocks.len());
                    blocks[at].resize(size);
                }
                _ => blocks.push(Block::new(size, round as u8)),
            }
        }
        let outside = blocks.iter().any(|b| b.layout.size() <= LARGEST && place(b.at) >= SIZE);
        assert!(cfg!(miri) || outside, "the memory was never used up");

        // Another thread has none of it, and may give blocks back.
        let given: Vec<(usize, Layout, u8)> =
            blocks.iter().map(|b| (b.at.expose_provenance(), b.layout, b.filled)).collect();
        std::thread::spawn(move || {
            begin();
            let own = Block::new(40, 7);
            assert!(place(own.at) >= SIZE);
            own.give_back();
            for (at, layout, filled) in given {
                Block { at: ptr::with_exposed_provenance_mut(at), layout, filled }.give_back();
            }
        })
        .join()
        .expect("the other thread");
    }
}
