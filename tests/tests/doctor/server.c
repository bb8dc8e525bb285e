/* A server with libwrap linked in statically: accepts, checks, greets, one client after another, as mysqld does.
 * Its only argument is the port. */
#include <netinet/in.h>
#include <stdlib.h>
#include <syslog.h>
#include <tcpd.h>
#include <unistd.h>

int allow_severity = LOG_INFO, deny_severity = LOG_WARNING;

static const char greeting[] = "\x14\0\0\0\x0a" "8.0.36\0" "\x07\0\0\0" "saltsalt";

int main(int argc, char **argv)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 3306) };
	if (bind(listener, (struct sockaddr *) &address, sizeof address) || listen(listener, 7))
		return 1;
	for (;;) {
		struct request_info request;
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			return 1;
		request_init(&request, RQ_DAEMON, argv[0], RQ_FILE, client, 0);
		fromhost(&request);
		if (hosts_access(&request) && write(client, greeting, sizeof greeting - 1) < 0)
			return 1;
		close(client);
	}
}
