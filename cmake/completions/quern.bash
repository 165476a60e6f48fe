# Bash completion for quern. Commands and options are read from the program's own help, so that
# they are those of the version installed.

_quern_commands() {
  quern --help 2>/dev/null | sed -nE '/^([Ss]ubc|c)ommands:/,$s/^  ([a-z][a-z-]*) .*/\1/p'
}

_quern() {
  local current=${COMP_WORDS[COMP_CWORD]} words=() word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && break
    words+=("$word")
    [[ $word == tokenizer || $word == bench ]] || break
  done
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W \
      "$(quern "${words[@]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$current")
  elif ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "$(_quern_commands)" -- "$current")
  elif ((COMP_CWORD == 2)) && [[ ${COMP_WORDS[1]} == tokenizer || ${COMP_WORDS[1]} == bench ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(quern "${COMP_WORDS[1]}" --help 2>/dev/null |
      sed -nE '/^([Ss]ubc|c)ommands:/,$s/^  ([a-z][a-z-]*) .*/\1/p')" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames
  fi
}

complete -F _quern quern
