/* A server that means harm: an ordinary user's, who may do nothing more (uid 12345, no_new_privs), and who has prepared what wrapwatch will read.
 *
 * server PORT ALLOW DENY [ALLOW…]: listens on PORT of the loopback with these tables, and says "ready". Accepts, checks, greets. With further tables it has another one ten times a
 * second, of those in turn.
 * server PORT loop: says "ready", and then replaces itself by itself without end.
 * server PORT forks: says "ready", and then makes processes without end, a few at a time, that do nothing.
 * In the environment STAYS_ROOT: is root's.
 * Compiled with BARE, without libwrap: bare PORT LIBRARY [lease|ports|addresses]: maps LIBRARY, and holds a lease on it, or listens on PORTS ports more, or on ADDRESSES addresses
 * of the loopback, PER_PORT of them with the same port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USER = 12345, PORTS = 1100, ADDRESSES = 18000, PER_PORT = 450 };

static int listener;

static int begin(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int yes = 1;

	if (argc < 3)
		return 2;
	/* The listener is the one from before. */
	if (argc == 3 && !strcmp(argv[2], "again"))
		return 0;
	/* While it may: a listener takes a descriptor. */
	if (argc == 4 && !strcmp(argv[3], "addresses") && setrlimit(RLIMIT_NOFILE, &(struct rlimit) { ADDRESSES + 100, ADDRESSES + 100 }))
		return 10;
	if (!geteuid() && !getenv("STAYS_ROOT") && (setgroups(0, NULL) || setresgid(USER, USER, USER) || setresuid(USER, USER, USER)))
		return 3;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	address.sin_port = htons(atoi(argv[1]));
	listener = socket(AF_INET, SOCK_STREAM | (argc == 3 ? 0 : SOCK_CLOEXEC), 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener, (struct sockaddr *) &address, sizeof address) || listen(listener, 64))
		return 4;
	return 0;
}

#ifdef BARE

/* Listens on as many addresses: 127.1.x.y, each with a port that others have as well. Whether it failed. */
static int addresses(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof address;

	for (int n = 0; n < ADDRESSES; n++) {
		int further = socket(AF_INET, SOCK_STREAM, 0);

		/* The first of them takes a port that is free. */
		if (n % PER_PORT == 0)
			address.sin_port = 0;
		address.sin_addr.s_addr = htonl(0x7f010000 + n);
		if (bind(further, (struct sockaddr *) &address, sizeof address) || listen(further, 1))
			return 1;
		if (getsockname(further, (struct sockaddr *) &address, &size))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int failed = begin(argc, argv), file;

	if (failed)
		return failed;
	file = open(argv[2], argc > 3 && !strcmp(argv[3], "lease") ? O_RDWR : O_RDONLY);
	if (file < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED)
		return 5;
	signal(SIGIO, SIG_IGN);
	if (argc > 3 && !strcmp(argv[3], "lease") && fcntl(file, F_SETLEASE, F_WRLCK))
		return 6;
	if (argc > 3 && !strcmp(argv[3], "ports")) {
		struct rlimit files;

		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
		for (int n = 0; n < PORTS; n++)
			if (listen(socket(AF_INET, SOCK_STREAM, 0), 1))
				return 9;
	}
	if (argc > 3 && !strcmp(argv[3], "addresses") && addresses())
		return 11;
	puts("ready");
	fflush(stdout);
	for (;;)
		close(accept(listener, NULL, NULL));
}

#else

#include <syslog.h>
#include <tcpd.h>

int allow_severity = LOG_INFO, deny_severity = LOG_WARNING;

static char **tables;

static void move(int ignored)
{
	static int at;

	(void) ignored;
	hosts_allow_table = tables[at];
	at = tables[at + 1] ? at + 1 : 0;
}

/* No more than some are there at once: the machine is others' as well. */
static void forks(void)
{
	puts("ready");
	fflush(stdout);
	for (int alive = 0;;) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		alive += child > 0;
		while (alive > 16 && wait(NULL) > 0)
			alive--;
	}
}

static const char greeting[] = "\x14\0\0\0\x0a" "8.0.36\0" "\x07\0\0\0" "saltsalt";

int main(int argc, char **argv)
{
	int failed = begin(argc, argv);

	if (failed)
		return failed;
	if (argc == 3 && !strcmp(argv[2], "forks"))
		forks();
	if (argc == 3) {
		if (!strcmp(argv[2], "loop"))
			puts("ready");
		fflush(stdout);
		usleep(2000);
		argv[2] = "again";
		execv("/proc/self/exe", argv);
		return 8;
	}
	if (argc < 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	hosts_allow_table = argv[2];
	hosts_deny_table = argv[3];
	if (argc > 4) {
		struct itimerval period = { { 0, 100000 }, { 0, 100000 } };

		tables = argv + 4;
		signal(SIGALRM, move);
		setitimer(ITIMER_REAL, &period, NULL);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct request_info request;
		int client = accept(listener, NULL, NULL);
		request_init(&request, RQ_DAEMON, "server", RQ_FILE, client, 0);
		fromhost(&request);
		if (hosts_access(&request) && write(client, greeting, sizeof greeting - 1) < 0)
			return 7;
		close(client);
	}
}

#endif
