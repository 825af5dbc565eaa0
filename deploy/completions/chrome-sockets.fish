# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_chrome_sockets_global_optspecs
    string join \n h/help V/version
end

function __fish_chrome_sockets_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_chrome_sockets_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_chrome_sockets_using_subcommand
    set -l cmd (__fish_chrome_sockets_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -s h -l help -d 'Print help'
complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -s V -l version -d 'Print version'
complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -f -a "serve" -d 'Serves pages and Node over WebSocket, and an admin page'
complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -f -a "native-host" -d 'Serves one extension over native messaging. Browsers start this'
complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -f -a "install" -d 'Installs the native messaging host for extensions'
complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -f -a "uninstall" -d 'Removes the native messaging host, or single extensions from it'
complete -c chrome-sockets -n "__fish_chrome_sockets_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l config -d 'A configuration file in TOML, where each flag can stand under its long name, such as listen = "127.0.0.1:8787". The command line and the environment win over the file' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l listen -d 'The address to listen on. Port 0 picks a free port. An address that other machines can reach needs a token' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l manifest -d 'What clients may do: a manifest.json for all of them, or a folder with APP.json for each app. Without it they may neither listen nor connect' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l dev -d 'For development: accept the manifests that clients send' -r -f -a "true\t''
false\t''"
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l origin -d 'An origin whose pages may connect, such as https://example.com or chrome-extension://ID. https://example.com=app-a,app-b restricts them to these apps. Can be repeated' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l any-origin -d 'Let every page connect that shows the token. Needs a token' -r -f -a "true\t''
false\t''"
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l token -d 'The token that every client must show. Other users of this machine can read command lines, so prefer the environment variable' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l metrics-listen -d 'Answer /healthz, /readyz and /metrics (for Prometheus) at this address; a port alone means 127.0.0.1, and no value means 127.0.0.1:9787' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l drain-deadline -d 'How long SIGTERM waits for the connections of apps to end, in seconds. Then they are ended. A second SIGTERM, or Ctrl-C, ends them at once. 0 to 86400' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l drain-delay -d 'How long the host goes on accepting after SIGTERM, in seconds. /readyz answers 503 meanwhile, so that a load balancer stops sending connections before they are refused. 0 to 3600' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l until-stdin-ends -d 'Stop, as at Ctrl-C, when standard input ends. For a program that starts the host and keeps the other end of the pipe: the host ends with it, even if it is killed' -r -f -a "true\t''
false\t''"
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l log-format -d 'The format of the log on standard error' -r -f -a "text\t'A line for people'
json\t'A JSON object a line, with time, level, target and message'"
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l proxy-from -d 'A network of proxies in front of the gateway, such as 10.0.0.0/8 or ::1. Connections from it must begin with a PROXY header (version 1 or 2), and the client that it names counts for limits and stands in the log. Can be repeated' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l apps-proxy-from -d 'The same for the server sockets of apps: connections from this network must begin with a PROXY header, and apps see the client that it names. Can be repeated' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l max-connections -d 'The most connections of the gateway, including those that are not clients yet. One address can use three quarters of them, and one page a quarter. 1 to 65536' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l max-clients -d 'The most clients: connections that are an app. One address can use three quarters of them, and one page a quarter. Not more than --max-connections. 1 to 65536' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l max-frame -d 'The largest frame of the protocol in KiB. One tcp.send carries half of it. 256 to 16384' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l frames-in-flight -d 'The unacknowledged frames beyond which messages collect into full frames. 2 to 1024' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l window -d 'The received data that one client may leave unacknowledged, in KiB. One socket can use a quarter of it. 256 to 1048576' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l write-quota -d 'The send data that one client may queue, in MiB. 1 to 65536' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l send-budget -d 'The send data that all clients together may queue, in MiB. Each client can always queue 1 MiB. 0 to 1048576' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l shared-memory -d 'The memory that all clients may use beyond their own shares, in MiB: incomplete frames, unread messages, and sockets with their names. 1 to 1048576' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l max-calls -d 'The calls of one client that may be unanswered, without sends. 16 to 1048576' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l max-sockets -d 'The sockets of one client in each namespace. 1 to 1048576' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l handshake-timeout -d 'How long a request and the first frame of a client may take, in seconds. 1 to 600' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l idle-timeout -d 'How long a client may send nothing, and may take to read one frame, in seconds. The host sends a ping every third of it. 3 to 86400' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -l check-config -d 'Check the command line, the configuration file and all manifests, and exit: with 0 if they are valid, else with 1 and what is wrong'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand native-host" -l manifest -d 'What the extension may do: a manifest.json, or a folder with EXTENSION.json for each. Without it the extension may neither listen nor connect' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand native-host" -l installed -d 'The file with the permissions that install wrote, instead of --manifest and --dev' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand native-host" -l dev -d 'For development: accept the manifest that the extension sends'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand native-host" -s h -l help -d 'Print help'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l extension -d 'The id of an extension that may start the host: 32 letters for Chrome, name@domain or {uuid} for Firefox. Each browser gets the ids of its own kind. Extensions that are installed already stay, with their own permissions. Can be repeated' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l manifest -d 'What these extensions may do: a manifest.json for all of them, or a folder with EXTENSION.json for each. Without it they may neither listen nor connect' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l copy-to -d 'Copy this program into a folder, so that browsers start the copy. A program in a build folder or an npm package is always copied: to the user\'s data folder, such as ~/.local/share/chrome-sockets, or into --user-data-dir. The next install replaces the copy' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l browser -d 'The browser; all known ones by default. Can be repeated' -r -f -a "chrome\t'Google Chrome'
chromium\t'Chromium'
edge\t'Microsoft Edge'
brave\t'Brave'
firefox\t'Mozilla Firefox'"
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l user-data-dir -d 'Only for the Chrome or Chromium that runs with this --user-data-dir' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l host-name -d 'The name that extensions connect to; chrome_sockets by default. A product with its own host needs its own name, such as com.example.sockets: a-z 0-9 _ and dots' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -l dev -d 'For development: accept the manifests that these extensions send'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand install" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand uninstall" -l extension -d 'Remove only this extension. Can be repeated' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand uninstall" -l browser -d 'The browser; all known ones by default. Can be repeated' -r -f -a "chrome\t'Google Chrome'
chromium\t'Chromium'
edge\t'Microsoft Edge'
brave\t'Brave'
firefox\t'Mozilla Firefox'"
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand uninstall" -l user-data-dir -d 'Only for the Chrome or Chromium that runs with this --user-data-dir' -r -F
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand uninstall" -l host-name -d 'The name that extensions connect to; chrome_sockets by default. A product with its own host needs its own name, such as com.example.sockets: a-z 0-9 _ and dots' -r
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand uninstall" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand help; and not __fish_seen_subcommand_from serve native-host install uninstall help" -f -a "serve" -d 'Serves pages and Node over WebSocket, and an admin page'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand help; and not __fish_seen_subcommand_from serve native-host install uninstall help" -f -a "native-host" -d 'Serves one extension over native messaging. Browsers start this'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand help; and not __fish_seen_subcommand_from serve native-host install uninstall help" -f -a "install" -d 'Installs the native messaging host for extensions'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand help; and not __fish_seen_subcommand_from serve native-host install uninstall help" -f -a "uninstall" -d 'Removes the native messaging host, or single extensions from it'
complete -c chrome-sockets -n "__fish_chrome_sockets_using_subcommand help; and not __fish_seen_subcommand_from serve native-host install uninstall help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
