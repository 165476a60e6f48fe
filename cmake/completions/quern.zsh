#compdef quern
# Commands and options are read from the program's own help, so that they are those of the version
# installed.

_quern() {
  local -a found command
  [[ $words[2] != -* ]] && command=($words[2])
  [[ $words[2] == (tokenizer|bench) && -n $words[3] && $words[3] != -* ]] && command+=($words[3])
  if [[ $PREFIX == -* ]]; then
    found=(${(uf)"$(quern $command --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*')"})
    compadd -- $found
  elif (( CURRENT == 2 )) || [[ $CURRENT == 3 && $words[2] == (tokenizer|bench) ]]; then
    (( CURRENT == 2 )) && command=() || command=($words[2])
    found=(${(f)"$(quern $command --help 2>/dev/null |
      sed -nE '/^([Ss]ubc|c)ommands:/,$s/^  ([a-z][a-z-]*) +(.*)/\1:\2/p')"})
    _describe command found
  else
    _files
  fi
}

_quern "$@"
