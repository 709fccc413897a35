"""`cascade completion bash|zsh|fish`: a script for the shell, made from the commands that there are."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ABOUT = "print a script with which the shell completes commands, options and files"
EXAMPLES = (
    ('eval "$(cascade completion bash)"', "in ~/.bashrc"),
    ('eval "$(cascade completion zsh)"', "in ~/.zshrc, after compinit"),
    ("cascade completion fish | source", "in ~/.config/fish/config.fish"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(SHELLS), help="for which shell")


def run(wanted: argparse.Namespace) -> int:
    from cascade_cli.command_line import new_parser  # which has this room in its table

    sys.stdout.write(SHELLS[wanted.shell](nodes_of(new_parser())))
    return 0


class Option(NamedTuple):
    """One option of a command."""

    words: tuple[str, ...]
    about: str
    takes: tuple[str, ...] | None
    """What may follow: some words; nothing in particular, so files are offered; None: it is a flag."""


class Node(NamedTuple):
    """A command: the words that lead to it, and what may follow."""

    path: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]
    words: tuple[str, ...]
    """Choices of its positional arguments."""
    files: bool


def nodes_of(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> list[Node]:
    """The parser and all parsers below it."""
    options, words, commands, files = list[Option](), list[str](), list[tuple[str, str]](), False
    below: list[Node] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                commands.append((name, abouts.get(name, "")))
                below += nodes_of(command, (*path, name))
        elif action.option_strings:
            options.append(Option(tuple(action.option_strings), _plain(action.help), _takes(action)))
        elif action.choices is not None:
            words += map(str, action.choices)
        else:
            files = files or action.type is Path
    return [Node(path, tuple(commands), tuple(options), tuple(words), files), *below]


def _takes(action: argparse.Action) -> tuple[str, ...] | None:
    if action.nargs == 0:
        return None
    return tuple(map(str, action.choices)) if action.choices is not None else ()


def _plain(text: str | None) -> str:
    return " ".join((text or "").replace("%%", "%").split())


# bash and zsh: which command the words before the cursor name, and what may follow there.


def bash(nodes: Sequence[Node]) -> str:
    return f"""# bash completion of cascade
_cascade() {{
{_walk(nodes)}
    COMPREPLY=( $(compgen -W "$offered" -- "$current") )
    if [ "$files" = 1 ]; then
        compopt -o filenames 2>/dev/null
        local IFS=$'\\n'
        COMPREPLY+=( $(compgen -f -- "$current") )
    fi
}}
complete -F _cascade cascade
"""


def zsh(nodes: Sequence[Node]) -> str:
    return f"""# zsh completion of cascade
_cascade() {{
    setopt localoptions shwordsplit ksharrays
    local COMP_CWORD=$((CURRENT - 1))
    local -a COMP_WORDS=("${{words[@]}}")
{_walk(nodes)}
    [ -n "$offered" ] && compadd -- $offered
    [ "$files" = 1 ] && _files
    return 0
}}
compdef _cascade cascade
"""


def _walk(nodes: Sequence[Node]) -> str:
    """Finds the command by the words that stand before the cursor, and sets `offered` and `files`."""
    known = "|".join(shlex.quote(" ".join(node.path)) for node in nodes if node.path)
    cases = "\n".join(_case(node) for node in nodes)
    return f"""    local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local at="" word="" offered="" files=0 place=1
    while [ "$place" -lt "$COMP_CWORD" ]; do
        word="${{COMP_WORDS[place]}}"
        case "${{at:+$at }}$word" in
            {known}) at="${{at:+$at }}$word" ;;
        esac
        place=$((place + 1))
    done
    case "$at" in
{cases}
    esac"""


def _case(node: Node) -> str:
    flags = " ".join(word for option in node.options for word in option.words)
    words = " ".join([*(name for name, _ in node.commands), *node.words])
    after = "".join(f"{line}\n" for line in _after_options(node))
    return f"""        {shlex.quote(" ".join(node.path))})
            case "$before" in
{after}                *)
                    case "$current" in
                        -*) offered="{flags}" ;;
                        *) offered="{words}"; files={int(node.files)} ;;
                    esac ;;
            esac ;;"""


def _after_options(node: Node) -> Iterator[str]:
    for option in node.options:
        if option.takes is not None:
            what = f'offered="{" ".join(option.takes)}"' if option.takes else "files=1"
            yield f"                {'|'.join(option.words)}) {what} ;;"


# fish: one line for each thing that may follow.


def fish(nodes: Sequence[Node]) -> str:
    lines = ["# fish completion of cascade", "complete -c cascade -f"]
    for node in nodes:
        lines += _fish_lines(node)
    return "\n".join(lines) + "\n"


def _fish_lines(node: Node) -> Iterator[str]:
    here = f"__fish_seen_subcommand_from {node.path[-1]}" if node.path else "__fish_use_subcommand"
    start = f"complete -c cascade -n {shlex.quote(here)}"
    for name, about in node.commands:
        yield f"{start} -a {shlex.quote(name)} -d {shlex.quote(about)}"
    if node.words:
        yield f"{start} -a {shlex.quote(' '.join(node.words))}"
    if node.files:
        yield f"{start} -F"
    for option in node.options:
        names = " ".join(f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" for word in option.words)
        takes = (
            ""
            if option.takes is None
            else f" -x -a {shlex.quote(' '.join(option.takes))}"
            if option.takes
            else " -r -F"
        )
        yield f"{start} {names}{takes} -d {shlex.quote(option.about)}"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
