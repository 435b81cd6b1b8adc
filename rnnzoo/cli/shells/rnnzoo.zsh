#compdef rnnzoo
# rnnzoo's completion for zsh:  eval "$(rnnzoo completion zsh)"
_rnnzoo() {
    local -a found
    found=("${(@f)$("$words[1]" __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    local kind=$found[1]
    shift found
    case $kind in
        words) _describe rnnzoo found ;;
        open | paths) _describe rnnzoo found -S '' ;;
        *) _files ;;
    esac
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _rnnzoo rnnzoo
