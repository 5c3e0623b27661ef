# start_debian: starts the task that holds Debian; restart says that its user is not logged on
[CmdletBinding(SupportsShouldProcess)]
param ()
$task = @{ TaskPath = '\mediaserver\'; TaskName = 'debian' }
$Ansible.Changed = (Get-ScheduledTask @task).State -ne 'Running'
if ($Ansible.Changed -and -not $Ansible.CheckMode) {
    Start-ScheduledTask @task
    Start-Sleep -Seconds 5
}
$Ansible.Result = @{ restart = (Get-ScheduledTask @task).State -ne 'Running' -and -not $Ansible.CheckMode }
