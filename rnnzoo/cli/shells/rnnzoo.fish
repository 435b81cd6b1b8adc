# rnnzoo's completion for fish:  rnnzoo completion fish | source
function __rnnzoo_complete
    set -l typed (commandline -opc) (commandline -ct)
    set -l found ($typed[1] __complete fish $typed[2..-1] 2>/dev/null)
    if contains -- "$found[1]" words open paths
        printf '%s\n' $found[2..-1]
    else
        __fish_complete_path $typed[-1]
    end
end
complete -c rnnzoo -f -a '(__rnnzoo_complete)'
