// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho run: keeps a program's state in custody.
 *
 * A small supervisor in the foreground. It holds what the program gave into
 * its care (the arena, listening sockets) as open fds, so that nothing of it
 * ends with the program:
 *
 * 1. it takes the NAME, makes the sockets, starts the program, and hands it
 *    what is in store in the LISTEN_FDS convention;
 * 2. it listens to what the program says (run-notify.h), and stores fds;
 * 3. a program that dies after it was ready is started again, with everything;
 * 4. a successor that took over says MAINPID: it is the program from then on;
 * 5. while none runs, because it dies at each start, it takes requests for the
 *    program, so that a better one can be brought in;
 * 6. a program that ends by itself, or is asked to, ends the supervisor, and
 *    with it goes the arena;
 * 7. for a kexec the program puts all of it into a session of the kernel, where
 *    the supervisor finds it when it starts again. While no program runs, it
 *    does that itself.
 *
 * It has one thread and little memory: it must not die.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control-serve.h"
#include "kho.h"
#include "options.h"
#include "run-notify.h"
#include "proc.h"
#include "folder.h"
#include "fd-store-session.h"
#include "fd-store.h"
#include "target.h"

/* Pauses between restarts: none, then from the first to the last, doubling. */
#define DELAY_FIRST_MS 100
#define DELAY_LAST_MS 5000

/* A program that has served for so long starts over with no pause. */
#define CALM_MS 3000

/* How long a successor has to speak up when the program has ended. */
#define SUCCESSOR_MS 2000

#define STOP_MS 10000

/* How long the killed children of a dead program can take to be gone. */
#define CLEAR_TRIES 500
#define CLEAR_PAUSE_US 2000

static const char help[] =
	"Usage: kho run [--name N] [--timeout S] [--cold] -- PROGRAM [ARGS]\n"
	"\n"
	"Runs PROGRAM and keeps its state in custody: the memory that it preserves\n"
	"and the sockets that it stores outlive it. A program that is killed, or ends\n"
	"with an error after it was ready, is started again and gets them back, in the\n"
	"version that ran, even when its file has been replaced.\n"
	"\n"
	"Processes that a dead program leaves behind are killed.\n"
	"\n"
	"After a kexec with 'kho kexec' the program gets the state that N had before it.\n"
	"\n"
	"It stays in the foreground. SIGTERM, SIGINT, SIGHUP or SIGQUIT end it: the\n"
	"program gets SIGTERM, and SIGKILL when that does not help. When it ends, or\n"
	"the program ends with exit code 0, the state is gone.\n"
	"\n"
	"  --name N     name of the service (PROGRAM's file name)\n"
	"  --timeout S  seconds from SIGTERM to SIGKILL (10)\n"
	"  --cold       do not look for a state that came through a kexec\n"
	"  --help       this text\n"
	"\n"
	"Exit: 0 when the program ended with 0 or as asked; its own exit code, or\n"
	"128 + signal, when it ended before it was ready; 2 when it was not started.\n"
	"\n"
	"Example: kho run --name cache -- ./cache --port 6379\n";

enum phase {
	RUNNING, /* the program runs */
	ORPHANED, /* it is dead; a successor may speak up until the deadline */
	WAITING, /* it is started again at the deadline */
	SUSPENDED, /* nothing is started, for there will be a kexec */
	STOPPING, /* it has SIGTERM, and gets SIGKILL at the deadline */
	ENDED,
};

struct run {
	const char *name;
	struct folder folder;
	struct store store;
	int notify;
	int signals;
	int suspender; /* who asked for the suspension, until that ends; or -1 */
	sigset_t old_mask;
	struct rlimit old_limit;
	unsigned int stop_ms;
	bool allow_degraded; /* for the program that was asked for */
	bool cold; /* whatever came through a kexec */

	char *program; /* path */
	int exe; /* its file, opened, so that it stays the same */
	char **argv;

	enum phase phase;
	int64_t deadline; /* ms, 0: none */
	pid_t pid; /* of the program, 0: none */
	bool ready; /* this program */
	bool suspended; /* it stands still, and would not hear SIGTERM */
	bool was_ready; /* this one or one before */
	int64_t ready_at;
	unsigned int starts;
	unsigned int delay_ms;
	int status; /* of the program that died last */
	int code; /* to exit with */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_status(const struct run *run)
{
	struct json_object *json = new_document("kho-status");
	struct json_object *argv = new_array();
	int ret;

	for (char **arg = run->argv; *arg; arg++)
		push_json(argv, json_of_string(*arg));
	json_add(json, J("name", run->name),
		 J("supervisor", (uint64_t)getpid()),
		 J("pid", (uint64_t)run->pid), J("program", run->program),
		 J("argv", argv),
		 J("state", run->ready	   ? "serving" :
			    run->was_ready ? "restarting" :
					     "starting"),
		 J("starts", run->starts),
		 J("arena",
		   json_object_new_int(store_find(&run->store, "kho-arena"))));
	ret = folder_write_status(&run->folder, json);
	if (ret)
		say("run: %s: cannot write %s/status.json: %s", run->name,
		    run->folder.path, strerror(-ret));
}

/*
 * Replaces this process, a child, by the program. By its path as long as the
 * same file is there, for then it carries its own name in ps; otherwise from
 * the file that was opened: what runs again is what ran. A script is opened by
 * its interpreter, which needs the path.
 */
static void execute(const struct run *run, int exe)
{
	struct stat opened, there;

	if (fstat(exe, &opened) || stat(run->program, &there) ||
	    opened.st_dev != there.st_dev || opened.st_ino != there.st_ino) {
		execveat(exe, "", run->argv, environ, AT_EMPTY_PATH);
		if (errno != ENOENT)
			return;
	}
	execve(run->program, run->argv, environ);
}

static void be_the_program(const struct run *run, int report)
{
	int others[] = { run->exe, report };
	int ret = store_pass(&run->store, others, 2);
	struct rlimit limit = run->old_limit;

	/* What comes from custody is not to use up what the program may open. */
	limit.rlim_cur += run->store.n;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	if (!ret) {
		setrlimit(RLIMIT_NOFILE, &limit);
		signal(SIGPIPE, SIG_DFL);
		sigprocmask(SIG_SETMASK, &run->old_mask, NULL);
		if (run->allow_degraded)
			setenv("KHO_ALLOW_DEGRADED", "1", 1);
		execute(run, others[0]);
		ret = -errno;
	}
	(void)!write(others[1], &ret, sizeof(ret));
	_exit(127);
}

/* Starts the program: 0 or a negative errno. */
static int start(struct run *run)
{
	int report[2];
	int ret = 0;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid)
		be_the_program(run, report[1]);
	if (pid < 0)
		ret = -errno;
	close(report[1]);
	/* The end of the pipe without a word: exec has closed it. */
	if (pid > 0 && read(report[0], &ret, sizeof(ret)) > 0)
		waitpid(pid, NULL, 0);
	close(report[0]);
	if (ret)
		return ret;
	run->pid = pid;
	run->suspended = false;
	run->starts++;
	run->phase = RUNNING;
	run->deadline = 0;
	write_status(run);
	return 0;
}

static void end(struct run *run, int code)
{
	run->phase = ENDED;
	run->code = code;
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

/* "killed by signal 9 (Killed)" */
static void describe_end(int status, char *buf, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(buf, size, "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "exited with status %d",
			 WEXITSTATUS(status));
}

/* Plans the next start; @why the last one came to nothing. */
static void restart_later(struct run *run, const char *why)
{
	int arena = store_find(&run->store, "kho-arena");
	char with[64] = "without an arena", when[32] = "";
	struct stat st;

	if (arena >= 0 && !fstat(arena, &st))
		snprintf(with, sizeof(with), "with its %s",
			 human_size((uint64_t)st.st_blocks * 512).text);
	if (run->delay_ms)
		snprintf(when, sizeof(when), " in %.1f s",
			 run->delay_ms / 1000.);
	say("run: %s: %s, restarting %s %s%s", run->name, why, run->program,
	    with, when);
	run->phase = WAITING;
	run->deadline = now_ms() + run->delay_ms;
	run->delay_ms = !run->delay_ms			  ? DELAY_FIRST_MS :
			run->delay_ms < DELAY_LAST_MS / 2 ? run->delay_ms * 2 :
							    DELAY_LAST_MS;
	write_status(run);
}

/*
 * Ends what the program has left behind: its children would go on with its
 * memory, and keep the arena from the next start.
 */
static void clear_away(void)
{
	for (int i = 0; i < CLEAR_TRIES; i++) {
		process_kill_children();
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		/* Killed, a child leaves its own children to us. */
		if (waitpid(-1, NULL, WNOHANG) < 0)
			break;
		usleep(CLEAR_PAUSE_US);
	}
}

/* The program is dead and has no successor: what now? */
static void judge(struct run *run)
{
	char why[96];
	bool asked = run->phase == STOPPING && WIFSIGNALED(run->status) &&
		     (run->suspended || WTERMSIG(run->status) != SIGKILL);

	clear_away();
	describe_end(run->status, why, sizeof(why));
	if (asked || !run->status) {
		end(run, 0);
	} else if (run->phase == STOPPING) {
		end(run, exit_code(run->status));
	} else if (!run->was_ready) {
		say("run: %s: %s %s before it was ready", run->name,
		    run->program, why);
		end(run, exit_code(run->status));
	} else {
		restart_later(run, why);
	}
}

static void start_failed(struct run *run, int error)
{
	char why[128];

	snprintf(why, sizeof(why), "cannot start: %s", strerror(-error));
	restart_later(run, why);
}

static void try_again(struct run *run)
{
	int ret = start(run);

	if (ret)
		start_failed(run, ret);
}

static void stop(struct run *run, const struct signalfd_siginfo *info)
{
	if (run->phase == STOPPING || run->phase == ENDED)
		return;
	/* What is in custody goes with it: whoever wonders shall know why. */
	if (info->ssi_pid)
		say("run: %s: SIG%s from process %u, ending %s", run->name,
		    sigabbrev_np((int)info->ssi_signo), info->ssi_pid,
		    run->program);
	else
		say("run: %s: SIG%s, ending %s", run->name,
		    sigabbrev_np((int)info->ssi_signo), run->program);
	if (run->phase == WAITING || run->phase == SUSPENDED) {
		end(run, 0);
		return;
	}
	/* An orphan's deadline stays. */
	if (run->pid) {
		kill(run->pid, run->suspended ? SIGKILL : SIGTERM);
		run->deadline = now_ms() + run->stop_ms;
	}
	run->phase = STOPPING;
}

static void on_deadline(struct run *run)
{
	run->deadline = 0;
	if (run->phase == WAITING) {
		try_again(run);
	} else if (run->pid) {
		say("run: %s: process %d did not end within %.1f s of SIGTERM: killed",
		    run->name, run->pid, run->stop_ms / 1000.);
		kill(run->pid, SIGKILL);
	} else {
		judge(run);
	}
}

static void on_ready(struct run *run)
{
	run->ready = true;
	run->was_ready = true;
	run->ready_at = now_ms();
}

/*
 * What is started next: @exe and the strings are the run's from now on. With
 * no @argv the arguments stay.
 */
static void set_program(struct run *run, int exe, char *program, char **argv)
{
	close(run->exe);
	free(run->program);
	run->exe = exe;
	run->program = program;
	if (argv) {
		free(run->argv);
		run->argv = argv;
	} else {
		run->argv[0] = program;
	}
}

/* A successor has taken over. */
static void adopt(struct run *run, pid_t pid)
{
	char **argv = process_argv(pid);
	char *program;
	int exe = process_exe(pid, O_PATH, &program);

	if (exe >= 0 && argv) {
		set_program(run, exe, program, argv);
	} else {
		say("run: %s: cannot tell which program process %d runs: a restart will run %s",
		    run->name, pid, run->program);
		if (exe >= 0) {
			close(exe);
			free(program);
		}
		free(argv);
	}
	run->allow_degraded = false;
	run->pid = pid;
	run->ready = false;
	run->suspended = false;
	run->starts++;
	if (run->phase == STOPPING) {
		kill(pid, SIGTERM);
		run->deadline = now_ms() + run->stop_ms;
	} else {
		run->phase = RUNNING;
		run->deadline = 0;
	}
}

static void keep(struct run *run, struct message *message)
{
	struct kho_error err;

	/* A program with two of these could not be started again. */
	if ((!strcmp(message->name, "kho-arena") ||
	     !strcmp(message->name, "kho-control")) &&
	    store_find(&run->store, message->name) >= 0) {
		say("run: %s: a second %s from process %d is not kept",
		    run->name, message->name, message->sender);
		return;
	}
	for (size_t i = 0; i < message->n; i++)
		if (store_add(&run->store, message->name, message->fds[i],
			      &err))
			say("run: %s: %s", run->name, err.text);
	message->n = 0;
}

static void obey(struct run *run, struct message *message)
{
	if (message->cut) {
		say("run: %s: a message from process %d was lost: it is too long, or there are too many open fds",
		    run->name, message->sender);
		return;
	}
	if (message->store)
		keep(run, message);
	if (message->remove)
		store_remove(&run->store, message->name);
	/* The successor says it itself, and so does the one it succeeds. */
	if (message->main_pid && message->main_pid != run->pid &&
	    (message->main_pid == message->sender ||
	     message->sender == run->pid))
		adopt(run, message->main_pid);
	if (message->ready && message->sender == run->pid)
		on_ready(run);
	if (message->suspended >= 0 && message->sender == run->pid)
		run->suspended = message->suspended;
	if (message->store || message->remove || message->main_pid ||
	    message->ready)
		write_status(run);
}

/* Only the program and what it has started are believed. */
static void hear(struct run *run)
{
	struct message message;

	while (notify_receive(run->notify, &message)) {
		if (message.sender &&
		    (message.sender == run->pid ||
		     process_descends(message.sender, getpid())))
			obey(run, &message);
		for (size_t i = 0; i < message.n; i++)
			close(message.fds[i]);
	}
}

static void on_death(struct run *run, int status)
{
	if (run->ready && now_ms() - run->ready_at >= CALM_MS)
		run->delay_ms = 0;
	run->pid = 0;
	run->ready = false;
	run->status = status;
	run->deadline = now_ms() + SUCCESSOR_MS;
	if (run->phase == RUNNING)
		run->phase = ORPHANED;
	write_status(run);
}

static void reap(struct run *run)
{
	siginfo_t info = { 0 };
	int status, ret;

	while (!(ret = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT)) &&
	       info.si_pid) {
		/* What it said before it died still counts. */
		hear(run);
		waitpid(info.si_pid, &status, 0);
		if (info.si_pid == run->pid)
			on_death(run, status);
		info.si_pid = 0;
	}
	/* It was adopted when somebody else had reaped it already. */
	if (ret && run->pid)
		on_death(run, SIGKILL);
	/* Nobody is left who could be a successor. */
	if (ret && !run->pid &&
	    (run->phase == ORPHANED || run->phase == STOPPING))
		judge(run);
}

static void on_signals(struct run *run)
{
	struct signalfd_siginfo info;

	/* First, for a terminal's ^C has killed the program too. */
	while (read(run->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			stop(run, &info);
	reap(run);
}

/*
 * `kho update` brings another program. It has checked that the program can read
 * the state, and the program will again.
 */
static void replace(struct run *run, struct request *request)
{
	struct kho_error err;
	int exe, ret;

	exe = open(request->program, O_PATH | O_CLOEXEC);
	if (exe < 0) {
		kho_fail(&err, -errno, "%s: %m", request->program);
		control_answer(request, 0, &err);
		return;
	}
	say("run: %s: replaced by %s on request", run->name, request->program);
	set_program(run, exe, request->program, request->argv);
	request->program = NULL;
	request->argv = NULL;
	run->allow_degraded = request->allow_degraded;
	run->delay_ms = 0;
	ret = start(run);
	if (ret) {
		kho_fail(&err, ret, "%s: cannot start: %s", run->program,
			 strerror(-ret));
		control_answer(request, 0, &err);
		restart_later(run, err.text);
	} else {
		control_answer(request, run->pid, NULL);
	}
}

/* `kho kexec`: the state is as the program left it, and stays so. */
static void suspend(struct run *run, struct request *request)
{
	struct json_object *left = must(json_object_new_object());
	struct kho_error err;
	int ret = session_give(request->session, &run->store, left, &err);

	control_suspended(request, left, ret ? &err : NULL);
	if (ret) {
		close(request->sock);
		return;
	}
	run->suspender = request->sock;
	run->phase = SUSPENDED;
	run->deadline = 0;
}

/* There is no kexec after all. The kernel needs a moment to let go of it. */
static void resume(struct run *run)
{
	close(run->suspender);
	run->suspender = -1;
	run->phase = WAITING;
	run->deadline = now_ms() + DELAY_FIRST_MS;
}

/* Nothing runs that could answer. */
static void on_request(struct run *run)
{
	int listener = store_find(&run->store, "kho-control");
	struct request request;

	if (control_receive(listener, &request))
		return;
	if (request.program)
		replace(run, &request);
	else
		suspend(run, &request);
}

static int timeout(const struct run *run)
{
	int64_t left = run->deadline - now_ms();

	return !run->deadline ? -1 : left < 0 ? 0 : (int)left;
}

static void supervise(struct run *run)
{
	struct pollfd fds[] = { { .fd = run->signals, .events = POLLIN },
				{ .fd = run->notify, .events = POLLIN },
				{ .fd = run->store.epoll, .events = POLLIN },
				{ .fd = -1, .events = POLLIN },
				{ .fd = -1, .events = POLLIN } };

	while (run->phase != ENDED) {
		/* As long as a program runs, it listens there itself. */
		fds[3].fd = run->phase == WAITING ?
				    store_find(&run->store, "kho-control") :
				    -1;
		fds[4].fd = run->suspender;
		if (poll(fds, 5, timeout(run)) > 0) {
			if (fds[2].revents)
				store_drop_dead(&run->store);
			if (fds[1].revents)
				hear(run);
			if (fds[0].revents)
				on_signals(run);
			if (fds[3].revents && run->phase == WAITING)
				on_request(run);
			if (fds[4].revents && run->phase == SUSPENDED)
				resume(run);
		}
		if (run->phase != ENDED && !timeout(run))
			on_deadline(run);
	}
}

/* The sockets between supervisor and program. */
static int make_sockets(struct run *run, struct kho_error *err)
{
	char *path;
	int control, ret;

	control = folder_socket(&run->folder, "control", SOCK_SEQPACKET, err);
	if (control < 0)
		return control;
	ret = store_add(&run->store, "kho-control", control, err);
	if (ret)
		return ret;
	run->notify = folder_socket(&run->folder, "notify", SOCK_DGRAM, err);
	if (run->notify < 0)
		return run->notify;
	ret = notify_init(run->notify);
	if (ret)
		return kho_fail(err, ret, "SO_PASSCRED: %s", strerror(-ret));
	path = format("%s/notify", run->folder.path);
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		ret = kho_fail(err, -ENAMETOOLONG,
			       "%s is too long for a socket: set KHO_RUNTIME_DIR to a shorter path",
			       path);
	else if (setenv("NOTIFY_SOCKET", path, 1))
		ret = kho_fail(err, -ENOMEM, "out of memory");
	free(path);
	return ret;
}

/* Signals, limits and parenthood. */
static int prepare(struct run *run, struct kho_error *err)
{
	static const int stops[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct sigaction action;
	struct rlimit limit;
	sigset_t mask;
	int ret;

	ret = store_init(&run->store);
	if (ret)
		return kho_fail(err, ret, "epoll: %s", strerror(-ret));
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	/* What nohup or a shell's & has had ignored stays so. */
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
		if (!sigaction(stops[i], NULL, &action) &&
		    action.sa_handler != SIG_IGN)
			sigaddset(&mask, stops[i]);
	sigprocmask(SIG_BLOCK, &mask, &run->old_mask);
	/* Whoever reads our messages may go away: that must not end us. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	run->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals < 0 || getrlimit(RLIMIT_NOFILE, &run->old_limit) ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1))
		return kho_fail(err, -errno, "cannot supervise: %m");
	limit = run->old_limit;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	unsetenv("KHO_UPDATE_FD");
	return 0;
}

/* What came through a kexec. It is not to be lost with a program that fails. */
static int take_session(struct run *run)
{
	struct kho_error err;
	struct stat st;
	int ret = session_take(run->name, &run->store, &err);
	int arena = store_find(&run->store, "kho-arena");

	if (ret < 0)
		return fail("run: %s: what came through a kexec: %s; --cold starts without",
			    run->name, err.text);
	if (ret && arena >= 0 && !fstat(arena, &st))
		say("run: %s: back from a kexec, with its %s", run->name,
		    human_size((uint64_t)st.st_blocks * 512).text);
	run->was_ready = ret;
	return 0;
}

static int set_up(struct run *run)
{
	struct kho_error err;
	int ret;

	if (prepare(run, &err) || make_sockets(run, &err))
		return fail("run: %s: %s", run->name, err.text);
	ret = run->cold ? 0 : take_session(run);
	if (ret)
		return ret;
	ret = start(run);
	if (ret && !run->was_ready)
		return fail("run: %s: cannot start: %s", run->program,
			    strerror(-ret));
	if (ret)
		start_failed(run, ret);
	return 0;
}

static int run_service(struct run *run)
{
	struct kho_error err;
	int ret;

	if (folder_create(&run->folder, run->name, &err))
		return fail("run: %s", err.text);
	ret = set_up(run);
	if (!ret) {
		supervise(run);
		ret = run->code;
	}
	folder_remove(&run->folder);
	store_exit(&run->store);
	return ret;
}

/* Checks the arguments as far as that goes before anything is made. */
static int take_arguments(struct run *run, char **argv)
{
	const char *name = run->name;
	struct kho_error err;
	size_t n = 0;

	if (program_find(argv[0], &run->program, &err))
		return fail("run: %s", err.text);
	run->exe = open(run->program, O_PATH | O_CLOEXEC);
	if (run->exe < 0)
		return fail("run: %s: %m", run->program);
	if (!name)
		name = strrchr(run->program, '/') + 1;
	if (!service_name_ok(name))
		return fail("run: \"%s\" cannot be a name: it takes 1 to %d of [a-zA-Z0-9._-]: give another with --name",
			    name, SERVICE_NAME_MAX);
	run->name = must(strdup(name));
	while (argv[n])
		n++;
	run->argv = must(calloc(n + 1, sizeof(*argv)));
	memcpy(run->argv, argv, n * sizeof(*argv));
	return 0;
}

int cmd_run(int argc, char **argv)
{
	static struct run run;
	const struct verb_option options[] = {
		{ "name", .text = &run.name },
		{ "timeout", .ms = &run.stop_ms },
		{ "cold", .flag = &run.cold },
		{},
	};
	char **words;
	int ret;

	run = (struct run){ .stop_ms = STOP_MS, .notify = -1, .suspender = -1 };
	words = parse_options(argc, argv, help, "+", options);
	if (!words[0])
		return fail_usage("run", "no PROGRAM given");
	ret = take_arguments(&run, words);
	return ret ? ret : run_service(&run);
}
