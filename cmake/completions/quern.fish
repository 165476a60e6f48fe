# Commands and options are read from the program's own help, so that they are those of the version
# installed.

function __quern_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l command
    for word in $words
        string match -q -- '-*' $word; and break
        set -a command $word
        contains -- $word tokenizer bench; or break
    end
    string join -- \n $command
end

function __quern_subcommands
    quern (__quern_command) --help 2>/dev/null |
        sed -nE '/^([Ss]ubc|c)ommands:/,$s/^  ([a-z][a-z-]*) +(.*)/\1\t\2/p'
end

function __quern_options
    quern (__quern_command) --help 2>/dev/null | string match -ra -- '--[a-z][a-z-]*' | sort -u
end

function __quern_wants_command
    set -l command (__quern_command)
    test (count $command) -eq 0; or contains -- "$command" tokenizer bench
end

complete -c quern -f -n __quern_wants_command -a '(__quern_subcommands)'
complete -c quern -n 'string match -q -- "-*" (commandline -ct)' -a '(__quern_options)'
