"""What of the schema the tests have said: every command, argument, event, enum
value and option of the command line, with the test that used it.

The list comes from schema/ and proto/launch_options.def, the use of it from what
sessions and daemons really exchange: nothing is written down twice. tests/run
joins both at the end of the system tests and writes build/coverage.txt.
"""

import ast
import collections
import glob
import json
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = "BULKHEAD_COVERAGE"  # environment: where to note what was said

# What the command line's options take, beside those that are a command's.
OPTION_TYPES = {"chardev": "ChardevOption", "add-fd": "AddFdOption"}
OPTION_COMMANDS = {"netdev": "netdev_add", "net": "netdev_add",
                   "device": "device_add"}

# What no test can bring about, and why. It is an error when one does.
NEVER = {
    "value SchemaMetaType alternate": "the schema has no alternate types",
    "value ShutdownCause host-error": "kept for QEMU's clients: a daemon that "
                                      "fails so has nobody left to tell it",
}


def definitions(path):
    """The expressions of a schema file, as dictionaries."""
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"^\s*#.*$|(?<=[,}\]]) +# .*$", "", f.read(), flags=re.M)
    text = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", text))
    depth, start = 0, 0
    for at, char in enumerate(text):
        if char == "{":
            start = at if depth == 0 else start
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                yield ast.literal_eval(text[start:at + 1])


class Schema:
    """Types, commands and events by name."""

    def __init__(self):
        self.types, self.commands, self.events, built = {}, {}, {}, set()
        for path in sorted(glob.glob(f"{TOP}/schema/*.json")):
            for d in definitions(path):
                kind = next(iter(d))
                if kind in ("enum", "struct", "union"):
                    self.types[d[kind]] = d
                elif kind in ("command", "event"):
                    getattr(self, kind + "s")[d[kind]] = d
                elif kind == "graph-type":
                    built.add(d[kind])
        with open(f"{TOP}/backends/backends.def", encoding="ascii") as f:
            built |= set(re.findall(r"^BACKEND\(([^,]+),", f.read(), re.M))
        self.drivers = built
        with open(f"{TOP}/proto/launch_options.def", encoding="ascii") as f:
            self.options = {name: arg for name, arg, who in re.findall(
                r'^LAUNCH_OPTION\(\w+, "([^"]+)", (NULL|"[^"]*"), (\w+)',
                f.read(), re.M) if who != "HIDDEN"}

    def members(self, of):
        """{name: type} of a struct's name, or of members written in place."""
        if of is None:
            return {}
        if isinstance(of, str):
            d = self.types[of]
            if "struct" in d and not isinstance(d.get("data", {}), str):
                return {**self.members(d.get("base")),
                        **self.members(d.get("data", {}))}
            return self.members(d.get("base", {}))
        return {k.lstrip("*"): t for k, t in of.items()}

    def branches(self, name):
        """{case: type} of a union, as far as this build has them."""
        d = self.types[name]
        tag = self.members(d["base"])[d["discriminator"]]
        there = d.get("available") or \
            (self.drivers if tag == "NetClientDriver" else d["data"])
        return {case: t for case, t in d["data"].items() if case in there}

    def walk(self, of, path="", value=None, seen=True):
        """Yield ("argument", path) and ("value", enum, name) of a type: all
        there are, or with `seen` those of a value."""
        if isinstance(of, list):
            for one in (value if isinstance(value, list) else [value]) \
                    if seen else [None]:
                yield from self.walk(of[0], path, one, seen)
            return
        d = self.types.get(of) if isinstance(of, str) else {"struct": ""}
        if d is None:
            return
        if "enum" in d:
            for name in d["data"]:
                if not seen or name == value:
                    yield ("value", of, name)
            return
        if seen and not isinstance(value, dict):
            return
        for name, kind in self.members(of).items():
            if not seen or name in value:
                yield ("argument", path + name)
                yield from self.walk(kind, path + name + ".",
                                     value[name] if seen else None, seen)
        if "union" in d:
            for case, kind in self.branches(of).items():
                if not seen or value.get(d["discriminator"]) == case:
                    yield from self.walk(kind, f"{path}{case}.", value, seen)

    def said(self, command, arguments, seen=True):
        """Items of a command with these arguments; all without `seen`."""
        d = self.commands.get(command)
        if d is None:
            return
        yield f"command {command}"
        for item in self.walk(d.get("data", {}), "", arguments, seen):
            yield f"argument {command} {item[1]}" if item[0] == "argument" \
                else " ".join(item)

    def values(self, of, value=None, seen=True):
        """Items of what was answered or told: enum values only."""
        for item in self.walk(of, "", value, seen):
            if item[0] == "value":
                yield " ".join(item)

    def option(self, name, text):
        """Items of one option of the command line."""
        yield f"option -{name}"
        if name not in OPTION_TYPES and name not in OPTION_COMMANDS:
            return
        value = option_value(text or "")
        if name == "net" and "type" in value:
            value["id"] = value.get("name", "")
        if name in OPTION_COMMANDS:
            yield from list(self.said(OPTION_COMMANDS[name], value))[1:]
            return
        for item in self.walk(OPTION_TYPES[name], "", value):
            if item[0] == "argument":
                yield f"option -{name} {item[1]}"

    def all(self):
        """Every item, in order."""
        items = {}
        for name, d in self.commands.items():
            items.update(dict.fromkeys(self.said(name, None, False)))
            items.update(dict.fromkeys(self.values(
                d.get("returns", {}), None, False)))
        for name, d in self.events.items():
            items[f"event {name}"] = None
            items.update(dict.fromkeys(self.values(
                d.get("data", {}), None, False)))
        for name in self.options:
            items[f"option -{name}"] = None
            for item in self.walk(OPTION_TYPES.get(name, {}), "", None, False):
                if item[0] == "argument":
                    items[f"option -{name} {item[1]}"] = None
        return sorted(items, key=lambda i: (i.split()[0], i))


def option_value(text):
    """TYPE,key=value,... or JSON as a dictionary of texts."""
    if text.startswith("{"):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return json.loads(text) if '"' in text else {}
    value = {}
    for i, word in enumerate(text.replace(",,", "\0").split(",")):
        key, equals, what = word.partition("=")
        if i == 0 and not equals:
            value.update({"type": key, "driver": key})
            continue
        at = value
        *parents, last = key.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                return value
        if last in at and isinstance(at[last], list):
            at[last].append(what)
        else:
            at[last] = what if equals else "on"
    return value


class Recorder:
    """Notes each item once as exercised and once as refused."""

    def __init__(self, path):
        self.schema, self.path, self.known = Schema(), path, set()

    def note(self, items, well):
        how = "exercised" if well else "refused"
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        fresh = [i for i in items if (how, i) not in self.known]
        if not fresh:
            return
        self.known.update((how, i) for i in fresh)
        with open(self.path, "a", encoding="utf-8") as f:
            f.writelines(f"{how}\t{i}\t{test}\n" for i in fresh)

    def answer(self, command, arguments, answer):
        """A command of ours, and what came of it."""
        well = "return" in answer
        self.note(self.schema.said(command, arguments or {}), well)
        if well and command in self.schema.commands:
            self.note(self.schema.values(
                self.schema.commands[command].get("returns", {}),
                answer["return"]), True)

    def event(self, message):
        name = message["event"]
        if name in self.schema.events:
            self.note([f"event {name}"], True)
            self.note(self.schema.values(
                self.schema.events[name].get("data", {}),
                message.get("data", {})), True)

    def argv(self, words, well):
        """The command line of a daemon that came up, or did not."""
        words = list(words)
        while words:
            word = words.pop(0)
            name, equals, text = word.lstrip("-").partition("=")
            if not word.startswith("-") or name not in self.schema.options:
                continue
            if not equals and self.schema.options[name] != "NULL" and words:
                text = words.pop(0)
            self.note(self.schema.option(name, text), well)


class Silent:
    """Notes nothing."""

    def answer(self, *_):
        pass

    event = argv = answer


_recorder = None


def recorder():
    """The one of this process."""
    global _recorder
    if _recorder is None:
        path = os.environ.get(FILE)
        _recorder = Recorder(path) if path else Silent()
    return _recorder


def table(noted, path):
    """Join what was noted with what there is; write the table.
    Returns the sentences to fail with."""
    found = collections.defaultdict(dict)
    with open(noted, encoding="utf-8") as f:
        for line in f:
            how, item, test = line.rstrip("\n").split("\t")
            found[item].setdefault(how, test)
    faults, counts, lines = [], collections.Counter(), []
    items = Schema().all()
    for item in items:
        ways = found.get(item, {})
        how = next((h for h in ("exercised", "refused") if h in ways), "nobody")
        where = ways.get(how, "")
        if item in NEVER:
            if how != "nobody":
                faults.append(f"{item}: {where} has it, which NEVER denies")
            how, where = "never", NEVER[item]
        elif how == "nobody":
            faults.append(f"{item}: no test uses it")
        counts[how] += 1
        lines.append(f"{how:<10} {item:<60} {where}".rstrip())
    faults += [f"{item}: NEVER names what there is not"
               for item in NEVER if item not in items]
    with open(path, "w", encoding="utf-8") as f:
        f.write("# " + ", ".join(f"{n} {h}" for h, n in sorted(counts.items())) +
                "\n" + "\n".join(lines) + "\n")
    return faults
