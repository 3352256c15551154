"""Changes that someone with access to the files of a log could make.

Those of a tree take the setting and a copy of the files, and change the copy; those of a proof give another text. A change may
turn out to be none.
"""

import base64

import verify
from verify import WIDTH, leaf_hash, tile_name

# Bytes


def flip(rng, data):
    at = rng.randrange(8 * len(data))
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def truncate(rng, data):
    return data[:rng.randrange(len(data))]


def extend(rng, data):
    return data + rng.randbytes(rng.randrange(1, 64))


def overwrite(rng, data):
    """A run of other bytes, aligned as hashes are."""
    at = rng.randrange(len(data)) // 32 * 32
    return data[:at] + rng.randbytes(len(data[at:at + 32])) + data[at + 32:]


# Files


def some_file(setting, files):
    return setting.rng.choice(sorted(files))


def byte_change(change):
    def changed(setting, files):
        name = some_file(setting, files)
        if files[name]:
            files[name] = change(setting.rng, files[name])
    changed.__name__ = change.__name__
    return changed


def swap_files(setting, files):
    a, b = some_file(setting, files), some_file(setting, files)
    files[a], files[b] = files[b], files[a]


def swap_tiles(setting, files):
    """Two tiles of the same length, which only their hashes tell apart."""
    a = setting.rng.choice(files.names())
    b = setting.rng.choice([name for name in files.names() if len(files[name]) == len(files[a])])
    files[a], files[b] = files[b], files[a]


def copy_file(setting, files):
    files[some_file(setting, files)] = files[some_file(setting, files)]


def remove_file(setting, files):
    # Without `key.pub` a tree is whole: trust comes from elsewhere.
    del files[setting.rng.choice([name for name in sorted(files) if name != "key.pub"])]


def stray_file(setting, files):
    """A partial tile beside the one that counts: who fetches it would believe it."""
    name = setting.rng.choice(files.names())
    stray = name.split(".p/")[0] + f".p/{setting.rng.randrange(1, WIDTH)}"
    if stray not in files:
        files[stray] = files[name]


def swap_hashes(setting, files):
    name = setting.rng.choice([name for name in files.names() if "entries" not in name])
    hashes = [files[name][at:at + 32] for at in range(0, len(files[name]), 32)]
    a, b = setting.rng.randrange(len(hashes)), setting.rng.randrange(len(hashes))
    hashes[a], hashes[b] = hashes[b], hashes[a]
    files[name] = b"".join(hashes)


def forge_leaf(setting, files, index=None):
    """CVE-2026-56865: another leaf hash in a tile of level 0, and another record where it points to."""
    rng = setting.rng
    index = rng.randrange(setting.minimum, setting.size) if index is None else index
    tile, item = index // WIDTH, index % WIDTH
    width = min(WIDTH, setting.size - tile * WIDTH)
    record = rng.randbytes(rng.randrange(40))
    name = tile_name(0, tile, width)
    files[name] = files[name][:32 * item] + leaf_hash(record) + files[name][32 * item + 32:]
    if rng.random() < 0.5:
        edit_bundle(files, tile_name("entries", tile, width), lambda records: records.__setitem__(item, record))


# Records


def records_of(bundle):
    records, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at:at + 2], "big")
        records.append(bundle[at + 2:end])
        at = end
    return records


def bundle_of(records):
    return b"".join(len(record).to_bytes(2, "big") + record for record in records)


def edit_bundle(files, name, edit):
    records = records_of(files[name])
    edit(records)
    files[name] = bundle_of(records)


def record_change(edit):
    def changed(setting, files):
        name = setting.rng.choice([name for name in files.names() if "entries" in name])
        edit_bundle(files, name, lambda records: edit(setting.rng, records))
    changed.__name__ = edit.__name__
    return changed


def drop_record(rng, records):
    del records[rng.randrange(len(records))]


def double_record(rng, records):
    at = rng.randrange(len(records))
    records.insert(at, records[at])


def swap_records(rng, records):
    a, b = rng.randrange(len(records)), rng.randrange(len(records))
    records[a], records[b] = records[b], records[a]


def change_record(rng, records):
    at = rng.randrange(len(records))
    records[at] = flip(rng, records[at]) if records[at] else b"\0"


def rebuild(setting, files):
    """All records from one on are moved or changed, and every tile is computed again; only the checkpoint stays."""
    if setting.minimum or setting.size > 2000:
        return
    names = sorted(name for name in files.names() if "entries" in name)
    records = [record for name in names for record in records_of(files[name])]
    edit = setting.rng.choice([drop_record, double_record, swap_records, change_record])
    edit(setting.rng, records)
    for name in files.names():
        del files[name]
    files.update(tree_of(records))


def tree_of(records):
    """Every tile and bundle of a tree."""
    files = {}
    for index in range(0, len(records), WIDTH):
        part = records[index:index + WIDTH]
        files[tile_name("entries", index // WIDTH, len(part))] = bundle_of(part)
    level, hashes = 0, [leaf_hash(record) for record in records]
    while hashes:
        above = []
        for index in range(0, len(hashes), WIDTH):
            part = hashes[index:index + WIDTH]
            files[tile_name(level, index // WIDTH, len(part))] = b"".join(part)
            if len(part) == WIDTH:
                above.append(verify.root_of(part))
        level, hashes = level + 1, above
    return files


# Checkpoints


def text_of(note):
    return note[:note.rindex(b"\n\n") + 1]


def resign(setting, files):
    """The log as it is, or changed alike everywhere, under a key that is not the log's."""
    if setting.rng.random() < 0.5:
        rebuild(setting, files)
    sign = setting.rng.choice([lambda text: setting.forger.sign(setting.key.name, text), lambda text: setting.forger.forge(setting.key, text)])
    files["checkpoint"] = sign(text_of(files["checkpoint"]))


def rewrite_checkpoint(setting, files):
    """Another size, or another root, under the old signature."""
    origin, size, root, *rest = files["checkpoint"].split(b"\n")
    if setting.rng.random() < 0.5:
        size = str(setting.rng.randrange(2 * setting.size)).encode()
    else:
        root = base64.b64encode(setting.rng.randbytes(32))
    files["checkpoint"] = b"\n".join([origin, size, root, *rest])


def older_checkpoint(setting, files):
    """True, and of another size than the tree."""
    if setting.older:
        files["checkpoint"] = setting.rng.choice(setting.older)


TREE = [
    *map(byte_change, [flip, flip, flip, truncate, extend, overwrite]),
    swap_files, swap_tiles, copy_file, remove_file, stray_file, swap_hashes, forge_leaf,
    *map(record_change, [drop_record, double_record, swap_records, change_record]),
    rebuild, resign, rewrite_checkpoint, older_checkpoint,
]


# Proofs


def proof_flip(setting, text):
    return flip(setting.rng, text)


def proof_truncate(setting, text):
    return truncate(setting.rng, text)


def proof_lines(setting, text):
    """Lines dropped, doubled or swapped."""
    rng, lines = setting.rng, text.split(b"\n")
    rng.choice([drop_record, double_record, swap_records])(rng, lines)
    return b"\n".join(lines)


def proof_index(setting, text):
    lines = text.split(b"\n")
    at = next(at for at, line in enumerate(lines) if line.startswith(b"index "))
    lines[at] = f"index {setting.rng.randrange(2 * setting.size)}".encode()
    return b"\n".join(lines)


def proof_hash(setting, text):
    lines = text.split(b"\n")
    at = setting.rng.choice([at for at, line in enumerate(lines[:lines.index(b"")]) if len(line) == 44])
    lines[at] = base64.b64encode(setting.rng.randbytes(32))
    return b"\n".join(lines)


def proof_resign(setting, text):
    head, note = text.split(b"\n\n", 1)
    files = {"checkpoint": note}
    setting.rng.choice([rewrite_checkpoint, older_checkpoint, lambda setting, files: files.__setitem__(
        "checkpoint", setting.forger.sign(setting.key.name, text_of(files["checkpoint"])))])(setting, files)
    return head + b"\n\n" + files["checkpoint"]


PROOF = [proof_flip, proof_flip, proof_truncate, proof_lines, proof_index, proof_hash, proof_resign]
