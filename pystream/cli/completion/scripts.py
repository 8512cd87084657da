"""What each shell evaluates. PROGRAMS stands for the names of all programs that are completed.

The shell calls `pystream` with COMPLETE_VARIABLE set, and the line up to the cursor in COMP_LINE; the answer is
described in `answer`. What goes wrong there is no business of the line that is being typed: it offers nothing then.
"""

from __future__ import annotations

from typing import Final

BASH: Final = r"""_pystream_complete() {
    local kind value
    COMPREPLY=()
    while IFS=$'\t' read -r kind value; do
        case $kind in
            word) COMPREPLY+=("${value%%$'\t'*}") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        _PYSTREAM_COMPLETE=bash_complete command pystream 2>/dev/null)
}
complete -o nosort -F _pystream_complete PROGRAMS
"""

ZSH: Final = r"""#compdef PROGRAMS
_pystream_complete() {
    local kind value text
    local -a plain described
    while IFS=$'\t' read -r kind value text; do
        case $kind in
            word) if [[ -n $text ]]; then described+=("${value//:/\\:}:$text"); else plain+=("$value"); fi ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done < <(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" \
        _PYSTREAM_COMPLETE=zsh_complete command pystream 2>/dev/null)
    (( $#described )) && _describe -V pystream described
    (( $#plain )) && compadd -V pystream -a plain
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _pystream_complete "$@"
else
    compdef _pystream_complete PROGRAMS
fi
"""

FISH: Final = r"""function __pystream_complete
    set -lx COMP_LINE (commandline -cp)
    set -lx _PYSTREAM_COMPLETE fish_complete
    for line in (command pystream 2>/dev/null)
        set -l parts (string split -m 2 \t -- $line)
        switch $parts[1]
            case word
                string join \t -- $parts[2..]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct) ''
        end
    end
end
for program in PROGRAMS
    complete --command $program --no-files --keep-order --arguments '(__pystream_complete)'
end
"""

SCRIPTS: Final = {"bash": BASH, "zsh": ZSH, "fish": FISH}
