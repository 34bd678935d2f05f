# kvc completion for fish.
function __kvc_complete
    set -l tokens (commandline -opc)
    set -l raw (commandline -ct)
    # Without its quotes, of which the last may be open.
    set -l last (string unescape -- "$raw"; or string unescape -- "$raw'"; or string unescape -- "$raw\"")
    for line in ($tokens[1] __complete $tokens[2..-1] "$last" 2>/dev/null)
        if string match -q ':0' -- $line
            if string match -q -- '--*=*' "$last"
                set -l option (string split -m 1 = -- "$last")[1]
                __fish_complete_path (string replace -r '^--[^=]*=' '' -- "$last") | string replace -r '^' "$option="
            else
                __fish_complete_path "$last"
            end
        else if string match -q '*'\t'*' -- $line
            echo -- $line
        end
    end
end
complete -c kvc -f -a '(__kvc_complete)'
