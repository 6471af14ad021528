"""Plays a power loss at any moment of a trace that fstrace.c recorded.

    world = World(folder)                     # folder/world is traced, folder/vault keeps every inode
    subprocess.run(program, env=world.environment())
    disk = Disk(world)
    for cut in range(disk.events):
        disk.advance(cut)                     # the first `cut` events have happened
        disk.lose_power(None)                 # folder/world now holds what is sure to be on the disk
        ...                                   # restart the program, look at what it makes of it

The model: the bytes of a file stand after fsync or fdatasync of it. A name (created, renamed, removed) stands after
fsync of its folder; a new one also after fsync of the file or folder itself. The rest may be there or not:
lose_power(None) drops all of it; lose_power(random) keeps any subset of the writes, in any order and torn, and the
changes of names up to some moment, as journals keep them. Inodes are kept: each file comes back under its own number.
"""
import os
import pathlib
import shutil
import struct
import subprocess

HEADER = struct.Struct("=IIIIqq")
OPEN, WRITE, TRUNC, SYNC, DATASYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, BAD = range(1, 12)
SOURCE = pathlib.Path(__file__).with_name("fstrace.c")


def build_tracer(folder):
    """Compiles the tracer; returns the path of the shared object."""
    target = pathlib.Path(folder) / "fstrace.so"
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-o", target,
                    SOURCE, "-lpthread"], check=True)
    return target


class World:
    """A folder whose every change is traced. With `name` it is the same folder, from now on, in a trace of its own."""

    def __init__(self, folder, tracer, name=""):
        self.folder = pathlib.Path(folder)
        self.root, self.vault, self.trace = (self.folder / part for part in ("world", "vault" + name, "trace" + name))
        self.tracer = tracer
        self.root.mkdir(exist_ok=True)
        self.vault.mkdir()
        self.before = self.files()
        for number, (path, content) in enumerate(self.before.items()):
            if content is not None:
                os.link(str(self.root) + path, self.vault / f"before-{number}")

    def environment(self):
        return {**os.environ, "LD_PRELOAD": str(self.tracer), "FSTRACE_ROOT": str(self.root),
                "FSTRACE_VAULT": str(self.vault), "FSTRACE_OUT": str(self.trace)}

    def files(self):
        """Path below the root -> bytes, None for a folder."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            found["/" + str(path.relative_to(self.root))] = None if path.is_dir() else path.read_bytes()
        return found


class Inode:
    def __init__(self, number, is_dir=False):
        self.number, self.is_dir = number, is_dir
        self.durable = bytearray()
        self.pending = []  # ("write", offset, bytes) and ("trunc", length, None), since the last sync

    @staticmethod
    def apply(content, change):
        kind, number, data = change
        if kind == "trunc":
            if number < len(content):
                del content[number:]
            else:
                content.extend(bytes(number - len(content)))
            return
        if number > len(content):
            content.extend(bytes(number - len(content)))
        content[number:number + len(data)] = data

    def sync(self):
        for change in self.pending:
            self.apply(self.durable, change)
        self.pending.clear()

    def content(self, changes):
        content = bytearray(self.durable)
        for change in changes:
            self.apply(content, change)
        return content


class Change:
    """A change of names; `sure` once it cannot be lost any more."""

    def __init__(self, kind, folders, path, inode=None, second=None):
        self.kind, self.folders, self.path, self.inode, self.second = kind, folders, path, inode, second
        self.sure = False

    def apply(self, names):
        if self.kind == "remove":
            names.pop(self.path, None)
        elif self.kind == "rename":
            names.pop(self.path, None)
            names[self.second] = self.inode
        else:
            names[self.path] = self.inode


def parent(path):
    return path.rsplit("/", 1)[0]


class Disk:
    def __init__(self, world):
        self.world = world
        self.log = list(self._read(world.trace))
        self.events = len(self.log)
        self.at = 0
        self.names = {"": Inode(0, is_dir=True)}  # as the program sees them
        for number, (path, content) in enumerate(world.before.items()):
            self.names[path] = Inode(f"before-{number}", is_dir=content is None)
            self.names[path].durable.extend(content or b"")
        self.sure_names = dict(self.names)
        self.changes = []
        self.handles = {}
        self.made_by = {}  # inode -> the change that gave it its first name

    @staticmethod
    def _read(path):
        data = path.read_bytes()
        at = 0
        while at + HEADER.size <= len(data):
            op, first_len, second_len, handle, number, extra = HEADER.unpack_from(data, at)
            at += HEADER.size
            first = data[at:at + first_len]
            second = data[at + first_len:at + first_len + second_len]
            if at + first_len + second_len > len(data):
                return  # the process was killed while it recorded
            at += first_len + second_len
            yield op, handle, number, extra, first, second

    def advance(self, to):
        """Lets the events before `to` happen."""
        assert to >= self.at
        while self.at < to:
            self._play(*self.log[self.at])
            self.at += 1

    def _change(self, change):
        change.apply(self.names)
        self.changes.append(change)
        if change.kind == "make":
            self.made_by[change.inode] = change

    @staticmethod
    def _clean(path):
        parts = [part for part in path.decode().split("/") if part not in ("", ".")]
        assert ".." not in parts, path
        return "".join("/" + part for part in parts)

    def _play(self, op, handle, number, extra, first, second):
        if op == BAD:
            raise AssertionError(f"the trace cannot be replayed: {first.decode()}")
        if op == OPEN:
            self._open(self._clean(first), handle, number, extra)
        elif op == WRITE:
            self.handles[handle].pending.append(("write", number, second))
        elif op == TRUNC:
            self.handles[handle].pending.append(("trunc", number, None))
        elif op in (SYNC, DATASYNC):
            self._sync(self.handles[handle], op)
        else:
            self._name(op, self._clean(first), self._clean(second))

    def _open(self, path, handle, flags, created):
        if created:
            self._change(Change("make", (parent(path),), path, Inode(handle)))
        inode = self.names[path]
        self.handles[handle] = inode
        if flags & os.O_TRUNC and not created:
            inode.pending.append(("trunc", 0, None))

    def _name(self, op, first, second):
        if op == MKDIR:
            self._change(Change("make", (parent(first),), first, Inode(0, is_dir=True)))
        elif op in (UNLINK, RMDIR):
            self._change(Change("remove", (parent(first),), first))
        elif op == LINK:
            self._change(Change("link", (parent(second),), second, self.names[first]))
        else:
            inode = self.names[first]
            assert not inode.is_dir, "the model knows no renamed folders"
            self._change(Change("rename", (parent(first), parent(second)), first, inode, second))

    def _sync(self, inode, op):
        inode.sync()
        if op == SYNC and inode in self.made_by:
            self.made_by[inode].sure = True
        if inode.is_dir:
            path = next(path for path, known in self.names.items() if known is inode)
            for change in self.changes:
                if path in change.folders:
                    change.sure = True

    def seen(self):
        """What the program saw at this moment, in the shape of World.files."""
        return {path: None if inode.is_dir else bytes(inode.content(inode.pending))
                for path, inode in sorted(self.names.items()) if path}

    def _names_left(self, random):
        moment = 0 if random is None else random.randint(0, len(self.changes))
        names = dict(self.sure_names)
        for i, change in enumerate(self.changes):
            if change.sure or i < moment:
                change.apply(names)
        reachable = {""}
        for path in sorted(names):
            if path and parent(path) in reachable and names[path].is_dir:
                reachable.add(path)
        return {path: inode for path, inode in names.items() if path and parent(path) in reachable}

    @staticmethod
    def _content_left(inode, random):
        if random is None or not inode.pending:
            return inode.durable
        share = random.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        kept = []
        for kind, number, data in inode.pending:
            if random.random() >= share:
                continue
            if data is not None and random.random() < 0.2:
                data = data[:random.randint(0, len(data))]
            kept.append((kind, number, data))
        return inode.content(kept)

    def lose_power(self, random):
        """Leaves in the world's root only what survives. Keeps the trace: it may be called again for a later moment."""
        root = self.world.root
        for path in root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        done = {}
        for path, inode in sorted(self._names_left(random).items()):
            target = str(root) + path
            if inode.is_dir:
                os.mkdir(target, 0o700)
                continue
            if inode not in done:
                kept = self.world.vault / str(inode.number)
                with open(kept, "r+b") as file:
                    file.truncate(0)
                    file.write(self._content_left(inode, random))
                done[inode] = kept
            os.link(done[inode], target)
